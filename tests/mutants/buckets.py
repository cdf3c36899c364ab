"""Mutants of the one namespace of buckets, and of who may use them."""

from tests.mutants.mutant import Mutant

BUCKETS = "objstore/proxy/buckets.py"
PROXY = "tests/unit/objstore/proxy/test_buckets.py"
CLUSTER = "tests/cluster/test_s3_buckets.py"

BUCKET_MUTANTS = (
    Mutant(
        "a reseller may delete the store's own accounts",
        "objstore/model/identity.py",
        'return self.reseller and not account.startswith(".")',
        "return self.reseller",
        f"{PROXY} -k touches",
    ),
    Mutant(
        "a name is claimed without a condition",
        BUCKETS,
        "conditions, after = (ABSENT, 0) if instead is None else (_instead_of(instead), instead.timestamp)",
        "conditions, after = Conditions(), 0",
        f"{PROXY} -k 'race or meanwhile'",
    ),
    Mutant(
        "a name without a container is anybody's at once",
        BUCKETS,
        "return claim.account != account and age_s < self._nodes.knobs.claim_grace_s",
        "return False",
        f"{PROXY} -k anybodys_later",
    ),
    Mutant(
        "a name with a container is anybody's after the grace",
        BUCKETS,
        "        if (await self._tables.container(claim.account, bucket)).exists:\n            return True\n",
        "",
        f"{PROXY} -k never_taken_over",
    ),
    Mutant(
        "a claim that is used again is not renewed",
        BUCKETS,
        "            if claim is not None and await self._stands(claim, account, bucket):\n",
        "            if claim is not None and (claim.account == account or await self._stands(claim, account, bucket)):\n",
        f"{PROXY} -k meanwhile",
    ),
    Mutant(
        "a name is given back although it was claimed anew",
        BUCKETS,
        "await self._changer.delete(_own(ctx.txn), name, _instead_of(claim))",
        "await self._changer.delete(_own(ctx.txn), name, Conditions())",
        f"{PROXY} -k not_given_back",
    ),
    Mutant(
        "what others claimed comes before one's own container",
        "objstore/api/s3/call.py",
        "    if not bucket or (account and await store.peek_container(account, bucket) is not None):\n",
        "    if not bucket:\n",
        f"{CLUSTER} -k account_first",
    ),
    Mutant(
        "who may not list is told what is missing",
        "objstore/api/s3/call.py",
        "    if not ctx.identity.owner_of(account):\n        await store.head_container(ctx, account, bucket)\n",
        "",
        f"{CLUSTER} -k nobody_signed",
    ),
    Mutant(
        "all users of an account are told what is missing",
        "objstore/api/s3/call.py",
        "    if not ctx.identity.owner_of(account):\n        await store.head_container(ctx, account, bucket)\n",
        "    if account.removeprefix('AUTH_') not in ctx.identity.groups:\n"
        "        await store.head_container(ctx, account, bucket)\n",
        f"{CLUSTER} -k but_not_list",
    ),
    Mutant(
        "who may not list is told by a copy what is missing",
        "objstore/api/s3/objects.py",
        "missing_told(store, call.ctx, source.account, source.container)",
        "missing_told(store, call.ctx, call.owner, call.bucket)",
        f"{CLUSTER} -k but_not_list",
    ),
    Mutant(
        "who may not list is told by a copied part what is missing",
        "objstore/api/s3/multipart.py",
        "missing_told(self._site.store, call.ctx, source.account, source.container)",
        "missing_told(self._site.store, call.ctx, call.owner, call.bucket)",
        f"{CLUSTER} -k but_not_list",
    ),
    Mutant(
        "what is missing in a copy's source is judged by its target",
        "objstore/api/s3/call.py",
        "        raise await no_such_key(store, ctx, account, bucket) from None\n",
        "        raise\n",
        f"{CLUSTER} -k but_not_list",
    ),
    Mutant(
        "anybody may change a bucket's list",
        "objstore/api/s3/acl.py",
        '        if not view.owner:\n            raise S3Error("AccessDenied")\n',
        "",
        f"{CLUSTER} -k another_account",
    ),
    Mutant(
        "an object's list may promise more than its bucket gives",
        "objstore/api/s3/grants.py",
        '        raise S3Error("AccessControlListNotSupported")\n',
        "        pass\n",
        f"{CLUSTER} -k nothing_new",
    ),
)
