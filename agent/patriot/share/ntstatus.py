"""What an SMB server's refusals mean to an installer: class, words, remedy."""

from agent.faults import Fault, FaultClass
from agent.patriot.share.base import InUse

_CHECK_USER = 'Check username, domain and the credential "share_password".'
_CHECK_RIGHTS = "Give the user the right to write, rename and delete there."

_MEANINGS: dict[int, tuple[FaultClass, str, str]] = {
    0xC000006D: (FaultClass.AUTHENTICATION, "refused user or password", _CHECK_USER),
    0xC0000064: (FaultClass.AUTHENTICATION, "does not know the user", _CHECK_USER),
    0xC000006A: (FaultClass.AUTHENTICATION, "refused the password", _CHECK_USER),
    0xC000006E: (FaultClass.AUTHENTICATION, "does not let this user in (account restriction)", _CHECK_USER),
    0xC000006F: (FaultClass.AUTHENTICATION, "does not let this user in at this hour", "Change the account's hours."),
    0xC0000070: (
        FaultClass.AUTHENTICATION,
        "does not let this user in from here",
        "Change the account's workstations.",
    ),
    0xC0000071: (FaultClass.AUTHENTICATION, "says that the password has expired", "Set a new password."),
    0xC0000072: (FaultClass.AUTHENTICATION, "says that the account is disabled", "Enable the account."),
    0xC000015B: (FaultClass.AUTHENTICATION, "does not allow this user a network log-in", "Change the server's policy."),
    0xC0000193: (FaultClass.AUTHENTICATION, "says that the account has expired", "Renew the account."),
    0xC0000224: (FaultClass.AUTHENTICATION, "wants the password changed first", "Set a new password."),
    0xC0000234: (FaultClass.AUTHENTICATION, "has locked the account", "Unlock the account and check the password."),
    0xC0000418: (FaultClass.AUTHENTICATION, "does not accept NTLM", "Allow NTLM for this account on the server."),
    0xC0000022: (FaultClass.REJECTED, "denied access", _CHECK_RIGHTS),
    0xC00000CA: (FaultClass.REJECTED, "denied access to the share", _CHECK_RIGHTS),
    0xC00000CC: (FaultClass.REJECTED, "has no share of that name", "Check share in [share]."),
    # The answer to the DFS referral that smbprotocol asks for when a share does not exist.
    0xC0000225: (FaultClass.REJECTED, "has no share of that name", "Check share in [share]."),
    0xC0000034: (FaultClass.REJECTED, "has no such file", "Look at the share."),
    0xC000003A: (FaultClass.REJECTED, "has no such folder", "Check remote_path in [share], or make the folder."),
    0xC0000033: (FaultClass.REJECTED, "does not allow such a file name", "Check remote_path in [share]."),
    0xC0000043: (FaultClass.REJECTED, "says that the file is in use", "An import may be running; it is tried again."),
    0xC00000A2: (FaultClass.REJECTED, "says that the medium is write-protected", _CHECK_RIGHTS),
    0xC000007F: (FaultClass.REJECTED, "says that its disk is full", "Free space on the server."),
    0xC0000044: (FaultClass.REJECTED, "says that the quota is used up", "Raise the quota."),
}

COLLISION = 0xC0000035
NO_SUCH_FILE = 0xC0000034
NOT_FOUND = {NO_SUCH_FILE, 0xC000003A}
ACCESS_DENIED = 0xC0000022
SHARING_VIOLATION = 0xC0000043


def meaning(status: int, place: str) -> Fault:
    fault_class, words, hint = _MEANINGS.get(
        status & 0xFFFFFFFF, (FaultClass.REJECTED, f"answered 0x{status & 0xFFFFFFFF:08X}", "Look at the server's log.")
    )
    kind = InUse if status & 0xFFFFFFFF == SHARING_VIOLATION else Fault
    return kind(fault_class, f"{place} {words}.", hint=hint)
