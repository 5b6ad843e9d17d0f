"""What is taken out of an answer before its first byte is stored, in every structure and at any depth.

Belongs here: which names hold secrets, which hold data of persons, and taking them out.
"""

from __future__ import annotations

import re
from typing import Any

_SECRET_PARTS = ("password", "pwhint", "secret", "token", "apikey", "databaseuserid")
_NO_SECRETS = frozenset({"passwordduration", "passwordwarning"})
_PERSONAL_PARTS = (
    *("email", "phone", "streetaddress", "addressline", "formattedaddress", "postalcode", "zip"),
    *("birthdate", "hiredate", "cardnum", "memo"),
)
# A prefix (spi:password) and a separator (api_key) do not make another name of it.
_BETWEEN_WORDS = re.compile(r"[^a-z0-9]")


def is_secret(name: str) -> bool:
    """Tell whether an attribute of this name holds a secret; it is never stored."""
    bare = name.rpartition(":")[2]
    plain = _BETWEEN_WORDS.sub("", bare.casefold())
    return plain not in _NO_SECRETS and any(part in plain for part in _SECRET_PARTS)


def is_personal(name: str) -> bool:
    """Tell whether an attribute of this name holds data of a person that are kept only when wanted."""
    plain = _BETWEEN_WORDS.sub("", name.casefold())
    return any(part in plain for part in _PERSONAL_PARTS)


def remove_private(value: Any, *, keeps_personal_data: bool) -> Any:
    """Return a value of JSON without secrets, and without data of persons unless they are kept."""
    if isinstance(value, dict):
        return {
            name: remove_private(item, keeps_personal_data=keeps_personal_data)
            for name, item in value.items()
            if not is_secret(name) and (keeps_personal_data or not is_personal(name))
        }
    if isinstance(value, list):
        return [remove_private(item, keeps_personal_data=keeps_personal_data) for item in value]
    return value
