"""S3's access lists in terms of the one grant model: the read and the write list of a container (model/acl).

A bucket's READ opens its objects and its listing, WRITE lets objects be put and deleted; FULL_CONTROL to somebody else is both. The
owner has all rights, always. There are no lists of single objects: as in S3 buckets whose owner is in control, a list that says
nothing new is accepted on an object, any other one refused.

Grantees: AllUsers is `.r:*,.rlistings`, AuthenticatedUsers `*:*`, and the ID of a canonical user is a word of Swift's lists: a
storage account, an account or `account:user`. Source: "Access control list (ACL) overview", Amazon S3 user guide.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from objstore.api.s3.errors import S3Error, invalid_argument
from objstore.api.s3.xml import XSI, Element, document, escape, group, leaf, owner_of
from objstore.formats.messages import Settings
from objstore.model.acl import LISTINGS

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
EVERYBODY = ".r:*"
ANY_USER = "*:*"
PERMISSIONS = ("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")
GRANT_HEADERS = {f"x-amz-grant-{name.lower().replace('_', '-')}": name for name in PERMISSIONS}
CANNED_BUCKET = ("private", "public-read", "public-read-write", "authenticated-read", "log-delivery-write", "aws-exec-read")
OWNERS_OWN = ("private", "bucket-owner-full-control", "bucket-owner-read")
"""Canned lists of objects that give nobody but the owner anything."""

Owner = tuple[str, ...]
"""The names that mean the owner."""

_ID = re.compile(r"[^\s,.\"'<>][^\s,\"'<>]{0,255}")
_HEADER_PART = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*"?([^",]*)"?\s*', re.IGNORECASE)


class Grant(NamedTuple):
    """`who` as in container lists: EVERYBODY, ANY_USER, or a word."""

    who: str
    permission: str


class Lists(NamedTuple):
    """The read and the write list of a container, as text."""

    read: str = ""
    write: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Lists":
        """Those of a container."""
        return cls(*(settings.values[key].value if key in settings.values else "" for key in ("acl:read", "acl:write")))

    @property
    def values(self) -> dict[str, str]:
        """As settings of a container."""
        return {"acl:read": self.read, "acl:write": self.write}


def canned(name: str) -> list[Grant]:
    """The grants beside the owner's of a canned list for a bucket. Raises S3Error InvalidArgument, NotImplemented."""
    match name:
        case "private":
            return []
        case "public-read":
            return [Grant(EVERYBODY, "READ")]
        case "public-read-write":
            return [Grant(EVERYBODY, "READ"), Grant(EVERYBODY, "WRITE")]
        case "authenticated-read":
            return [Grant(ANY_USER, "READ")]
    if name in CANNED_BUCKET:
        raise S3Error("NotImplemented", f"The canned ACL {name} is not implemented.")
    raise invalid_argument("", "x-amz-acl", name)


def grants_of_headers(headers: Mapping[str, str], owner: Owner) -> list[Grant] | None:
    """What `x-amz-acl` or `x-amz-grant-*` say; None when there is neither. Raises S3Error."""
    named = {header: permission for header, permission in GRANT_HEADERS.items() if header in headers}
    if "x-amz-acl" in headers:
        if named:
            raise S3Error("InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
        return canned(headers["x-amz-acl"])
    if not named:
        return None
    found = []
    for header, permission in named.items():
        for part in headers[header].split(","):
            match = _HEADER_PART.fullmatch(part)
            if match is None:
                raise invalid_argument("Argument format not recognized", header, headers[header])
            found.append(_grant(match[1].lower(), match[2], permission, owner))
    return [grant for grant in found if grant is not None]


def grants_of_document(tree: Element, owner: Owner) -> list[Grant]:
    """What an AccessControlPolicy says. Raises S3Error MalformedACLError, InvalidArgument, AccessDenied for another owner."""
    named = [one.findtext("ID", "") for one in tree.findall("Owner")]
    lists = tree.findall("AccessControlList")
    if len(named) != 1 or len(lists) != 1:
        raise S3Error("MalformedACLError")
    if named[0] not in owner:
        raise S3Error("AccessDenied")
    found = []
    for one in lists[0].findall("Grant"):
        permission, grantees = one.findtext("Permission", ""), one.findall("Grantee")
        if permission not in PERMISSIONS or len(grantees) != 1:
            raise S3Error("MalformedACLError")
        found.append(_grant(*_grantee(grantees[0]), permission, owner))
    return [grant for grant in found if grant is not None]


def _grantee(element: Element) -> tuple[str, str]:
    for tag, kind in (("ID", "id"), ("URI", "uri"), ("EmailAddress", "emailaddress")):
        text = element.findtext(tag, "")
        if text:
            return kind, text
    raise S3Error("MalformedACLError")


def _grant(kind: str, text: str, permission: str, owner: Owner) -> Grant | None:
    """None for what the owner has anyway."""
    if kind == "emailaddress":
        raise S3Error("UnresolvableGrantByEmailAddress")
    if kind == "uri":
        who = {ALL_USERS: EVERYBODY, AUTHENTICATED_USERS: ANY_USER}.get(text, "")
        if text == LOG_DELIVERY:
            raise S3Error("NotImplemented", "Grants to the log delivery group are not implemented.")
        if not who:
            raise invalid_argument("Invalid group uri", "Group/URI", text)
        return Grant(who, permission)
    if text in owner:
        return None
    if not _ID.fullmatch(text):
        raise invalid_argument("Invalid id", "CanonicalUser/ID", text)
    return Grant(text, permission)


def lists_of(grants: list[Grant]) -> Lists:
    """The lists of a container. Raises S3Error NotImplemented for what they cannot say."""
    read: dict[str, None] = {}
    write: dict[str, None] = {}
    for who, permission in grants:
        if permission in ("READ_ACP", "WRITE_ACP"):
            raise S3Error("NotImplemented", f"{permission} can be granted to nobody but the owner.")
        if permission != "READ" and who == EVERYBODY:
            raise S3Error("NotImplemented", "Writing by anonymous users is not implemented.")
        if permission != "WRITE":
            read |= dict.fromkeys((EVERYBODY, LISTINGS) if who == EVERYBODY else (who,))
        if permission != "READ":
            write[who] = None
    return Lists(",".join(read), ",".join(write))


def grants_of(lists: Lists, *, bucket: bool = True) -> Iterator[Grant]:
    """What lists give beside the owner's rights, to a bucket or to an object in it. What S3 has no words for is left out: sites
    that may show objects, and objects that may be read but not listed (of the bucket).
    """
    read, write = (list(dict.fromkeys(text.split(","))) if text else [] for text in lists)
    if EVERYBODY in read and (LISTINGS in read or not bucket):
        yield Grant(EVERYBODY, "READ")
    for word in (*read, *(word for word in write if word not in read)):
        if word.startswith("."):
            continue
        if word in read and word in write and bucket:
            yield Grant(word, "FULL_CONTROL")
        elif word in read:
            yield Grant(word, "READ")
        elif bucket:
            yield Grant(word, "WRITE")


def check_object_grants(headers: Mapping[str, str], owner: Owner, lists: Lists) -> None:
    """A list for a single object must say what holds anyway. Raises S3Error AccessControlListNotSupported, InvalidArgument."""
    if headers.get("x-amz-acl") in OWNERS_OWN and GRANT_HEADERS.keys().isdisjoint(headers):
        return
    grants = grants_of_headers(headers, owner)
    if grants is not None:
        require_nothing_new(grants, lists)


def require_nothing_new(grants: list[Grant], lists: Lists) -> None:
    """Raises S3Error AccessControlListNotSupported when grants of an object give more than its bucket does."""
    held = {(grant.who, grant.permission) for grant in grants_of(lists, bucket=False)}
    if any((who, permission) not in held for who, permission in grants):
        raise S3Error("AccessControlListNotSupported")


def policy_document(owner: str, grants: Iterator[Grant]) -> bytes:
    """The AccessControlPolicy that GetBucketAcl and GetObjectAcl show."""
    shown = [_shown("CanonicalUser", leaf("ID", owner) + leaf("DisplayName", owner), "FULL_CONTROL")]
    for who, permission in grants:
        if who in (EVERYBODY, ANY_USER):
            shown.append(_shown("Group", leaf("URI", ALL_USERS if who == EVERYBODY else AUTHENTICATED_USERS), permission))
        else:
            shown.append(_shown("CanonicalUser", leaf("ID", who) + leaf("DisplayName", who), permission))
    return document("AccessControlPolicy", (owner_of(owner), group("AccessControlList", shown)))


def _shown(kind: str, grantee: str, permission: str) -> str:
    element = f'<Grantee xmlns:xsi="{escape(XSI)}" xsi:type="{kind}">{grantee}</Grantee>'
    return group("Grant", (element, leaf("Permission", permission)))
