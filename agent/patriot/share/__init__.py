"""The central share: one interface, three implementations under one contract test-suite."""

from agent.patriot.share.base import FileInfo, Gone, InUse, NameTaken, Share, probe
from agent.patriot.share.directory import DirectoryShare
from agent.settings.models import Share as ShareSettings

__all__ = ["FileInfo", "Gone", "InUse", "NameTaken", "Share", "open_share", "probe"]


def open_share(settings: ShareSettings) -> Share:
    """The share that `[share]` names. No I/O: the first call connects."""
    if settings.kind == "directory":
        assert settings.path is not None
        return DirectoryShare(settings.path, settings.timeout_s)
    # Imported here, since either library costs a tenth of a second and one of them is never needed.
    if settings.dialect == "smb3":
        from agent.patriot.share.smb3 import Smb3Share

        return Smb3Share(settings)
    from agent.patriot.share.smb2 import Smb2Share

    return Smb2Share(settings)
