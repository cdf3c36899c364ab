"""Buckets: containers whose names are claimed, once in the cluster.

A name is claimed before its container is made, and given back after it was deleted. What lies between (a crash, a container that
was deleted as such) leaves a claim without a container: it is its account's at once, and anybody's after `claim_grace_s`. A claim
that is about to be used is renewed, so that whoever was about to take it over has to look again.
"""

import logging

from objstore.model.claims import CLAIMS_ACCOUNT, CLAIMS_CONTAINER, HOLDER, Claim, claim_body
from objstore.model.conditions import ANY, Conditions
from objstore.model.errors import BucketClaimed, Conflict, ObjectNotFound, PreconditionFailed, Unavailable
from objstore.model.identity import Identity
from objstore.model.names import ObjectName
from objstore.model.policy import Policies
from objstore.model.timestamps import seconds_of
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.access import Access
from objstore.proxy.bodies import InMemory
from objstore.proxy.changes import Changer
from objstore.proxy.found import NO_BYTES
from objstore.proxy.nodes import Nodes
from objstore.proxy.operations import Context, NewObject, Upload
from objstore.proxy.reads import Finder
from objstore.proxy.storing import Slot, Storer
from objstore.proxy.tables import Tables
from objstore.runtime.clock import HybridClock

logger = logging.getLogger("objstore.proxy")

ATTEMPTS_MAX = 8
BELIEVED_S = 5.0
"""How long another account's claim, or that there is none, is believed without asking."""
ABSENT = Conditions(if_none_match=frozenset({ANY}))


class Buckets:
    """See the buckets in `operations.Store`. Used in the event loop alone."""

    def __init__(
        self,
        nodes: Nodes,
        placement: Placement,
        policies: Policies,
        tables: Tables,
        access: Access,
        finder: Finder,
        storer: Storer,
        changer: Changer,
        hlc: HybridClock,
    ) -> None:
        self._nodes = nodes
        self._placement = placement
        self._policies = policies
        self._tables = tables
        self._access = access
        self._finder = finder
        self._storer = storer
        self._changer = changer
        self._hlc = hlc
        self._holders: dict[str, tuple[str, float]] = {}
        """By bucket: whose it is, "" for nobody's, and until when (monotonic) that is believed."""

    async def holder(self, bucket: str, txn: str) -> str:
        """As Store.bucket_holder."""
        now = self._nodes.clock.monotonic()
        account, until = self._holders.get(bucket, ("", 0.0))
        if now < until:
            return account
        claim = await self._claim_of(bucket, txn)
        account = claim.account if claim is not None else ""
        if len(self._holders) >= self._nodes.knobs.cache_entries_max:
            del self._holders[next(iter(self._holders))]
        self._holders[bucket] = (account, now + BELIEVED_S)
        return account

    async def create(self, ctx: Context, account: str, bucket: str, values: dict[str, str]) -> bool:
        """As Store.create_bucket."""
        await self._access.write_container(ctx, account)
        if (await self._tables.container(account, bucket)).exists:
            try:
                await self._claim(account, bucket, ctx.txn)
            except BucketClaimed:
                pass  # it stays what it was: a container that its own account finds first
            return False
        await self._claim(account, bucket, ctx.txn)
        return await self._tables.put_container(ctx, account, bucket, values, None)

    async def delete(self, ctx: Context, account: str, bucket: str) -> None:
        """As Store.delete_bucket."""
        await self._access.write_container(ctx, account)
        try:
            claim = await self._claim_of(bucket, ctx.txn)
        except Unavailable:
            claim = None
        await self._tables.delete_container(ctx, account, bucket)
        self._holders.pop(bucket, None)
        if claim is not None and claim.account == account:
            name = ObjectName(CLAIMS_ACCOUNT, CLAIMS_CONTAINER, bucket)
            try:
                await self._changer.delete(_own(ctx.txn), name, _instead_of(claim))
            except (PreconditionFailed, ObjectNotFound):
                pass  # somebody claimed it anew meanwhile
            except (Conflict, Unavailable) as error:
                logger.warning("a bucket's name is not given back", extra={"bucket": bucket, "error": str(error)})

    # --- claims ------------------------------------------------------------------------------------------------

    async def _claim(self, account: str, bucket: str, txn: str) -> None:
        """Returns when the name is the account's, and its container, if there is none yet, may be made. Raises BucketClaimed;
        Conflict when others keep claiming it too.
        """
        place = await self._place(bucket, txn)
        for _ in range(ATTEMPTS_MAX):
            claim = await self._read(place, txn)
            if claim is not None and await self._stands(claim, account, bucket):
                if claim.account == account:
                    return
                raise BucketClaimed(f"{bucket} is another account's")
            try:
                await self._write(place, account, claim, txn)
            except (PreconditionFailed, Conflict):
                continue  # look again
            self._holders.pop(bucket, None)
            return
        raise Conflict("others are claiming the same name")

    async def _stands(self, claim: Claim, account: str, bucket: str) -> bool:
        """Whether nobody may claim the name anew: there is a container, or there may be one soon that is not of `account`."""
        if (await self._tables.container(claim.account, bucket)).exists:
            return True
        age_s = self._nodes.clock.now() - seconds_of(claim.timestamp)
        return claim.account != account and age_s < self._nodes.knobs.claim_grace_s

    async def _claim_of(self, bucket: str, txn: str) -> Claim | None:
        info = await self._tables.container(CLAIMS_ACCOUNT, CLAIMS_CONTAINER)
        if not info.exists:
            return None
        name = ObjectName(CLAIMS_ACCOUNT, CLAIMS_CONTAINER, bucket)
        return await self._read(self._placement.object(name, info.settings.policy), txn)

    async def _place(self, bucket: str, txn: str) -> ObjectPlace:
        """Where a claim goes: into a strict policy where there is one."""
        info = await self._tables.container(CLAIMS_ACCOUNT, CLAIMS_CONTAINER)
        policy = info.settings.policy
        if not info.exists:
            policy = min(self._policies, key=lambda one: (one.sloppy, not one.default, one.index)).index
            await self._tables.make_container(_own(txn), CLAIMS_ACCOUNT, CLAIMS_CONTAINER, policy)
        return self._placement.object(ObjectName(CLAIMS_ACCOUNT, CLAIMS_CONTAINER, bucket), policy)

    async def _read(self, place: ObjectPlace, txn: str) -> Claim | None:
        version = (await self._finder.find(place, NO_BYTES, txn)).version
        return None if version is None else Claim(version.system.get(HOLDER, ""), version.etag, version.timestamp)

    async def _write(self, place: ObjectPlace, account: str, instead: Claim | None, txn: str) -> None:
        body = claim_body(account, self._hlc.next())
        conditions, after = (ABSENT, 0) if instead is None else (_instead_of(instead), instead.timestamp)
        upload = Upload(InMemory(body), len(body))
        await self._storer.put(_own(txn), Slot(place, after, None, conditions), NewObject("text/plain"), upload, {HOLDER: account})


def _own(txn: str) -> Context:
    """The store itself, who owns the claims."""
    return Context(Identity("", frozenset(), frozenset({CLAIMS_ACCOUNT})), txn)


def _instead_of(claim: Claim) -> Conditions:
    return Conditions(if_match=frozenset({claim.etag}))
