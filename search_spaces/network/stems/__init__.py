"""From images to the first map, one file each."""
