"""Names of training-free scores: numbers of an untrained network. Workers, which know no surrogate, read them too."""

AZ_NAS = ("expressivity", "progressivity", "trainability")
"""What `az_nas` is made of, with macs."""
PROXIES = ("synflow", "zico", *AZ_NAS)
"""What a worker computes of a network."""
NAMES = (*PROXIES, "az_nas")
"""Every training-free score."""
