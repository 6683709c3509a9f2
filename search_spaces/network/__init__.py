"""The same in torch and timm, importing nothing else of ours."""
