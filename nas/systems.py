"""Which operating systems this project runs on; imports nothing, as it is asked before anything else is imported."""


def lacking(platform: str) -> str | None:
    """Why the project does not run on a system; None where it does.

    Args:
        platform: sys.platform.
    """
    if platform in ("win32", "cygwin"):
        return (
            f"this system is Windows ({platform}), whose processes have no file locks and signals as hybrid-nas needs "
            "them; it runs on Linux and macOS: use WSL 2, a virtual machine or a container"
        )
    return None
