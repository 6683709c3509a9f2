"""Token mixers, one file each. These files import only torch and timm, so that they can leave the house in a zoo module."""
