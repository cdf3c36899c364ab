"""Buckets of several accounts: one namespace, lists of rights as S3 speaks of them, and requests that nobody signed."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from botocore.exceptions import ClientError

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3client import client_of, code_of
from tests.cluster.swift import Swift

DOMAIN = "s3.example.org"
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
ANY_USER = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
MINE, ME, THEIRS = "AUTH_test", "test:tester", "AUTH_test2"


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    settings = {"s3": {"domains": [DOMAIN]}}
    with BlockingCluster(nodes=3, devices=1, proxies=2, network_faults=False, disk_faults=False, settings=settings) as running:
        running.run_daemons("object-replicator")
        yield running


@pytest.fixture
def mine(cluster: BlockingCluster):
    return client_of(cluster)


@pytest.fixture
def theirs(cluster: BlockingCluster):
    return client_of(cluster, "test2:tester2", "testing2")


@pytest.fixture
def bucket(mine) -> str:
    name = f"bucket-{os.urandom(4).hex()}"
    mine.create_bucket(Bucket=name)
    mine.put_object(Bucket=name, Key="o", Body=b"body")
    return name


def grants(client, bucket: str, **key: str) -> list[tuple[str, str]]:
    """(who, permission) beside the owner's."""
    answer = client.get_object_acl(Bucket=bucket, **key) if key else client.get_bucket_acl(Bucket=bucket)
    assert answer["Owner"]["ID"] == ME
    found = [(one["Grantee"].get("URI") or one["Grantee"]["ID"], one["Permission"]) for one in answer["Grants"]]
    assert found[0] == (ME, "FULL_CONTROL")
    return found[1:]


def test_a_name_is_one_accounts(mine, theirs, bucket: str) -> None:
    assert code_of(theirs.create_bucket, Bucket=bucket) == ("BucketAlreadyExists", 409)
    assert code_of(mine.create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)
    assert code_of(theirs.head_bucket, Bucket=bucket) == ("403", 403)
    assert code_of(theirs.delete_bucket, Bucket=bucket) == ("AccessDenied", 403)
    assert bucket not in [one["Name"] for one in theirs.list_buckets()["Buckets"]]
    mine.delete_object(Bucket=bucket, Key="o")
    mine.delete_bucket(Bucket=bucket)
    theirs.create_bucket(Bucket=bucket)
    assert code_of(mine.create_bucket, Bucket=bucket) == ("BucketAlreadyExists", 409)
    theirs.delete_bucket(Bucket=bucket)


def test_of_accounts_that_race_one_gets_the_name(cluster: BlockingCluster) -> None:
    users = [("test:tester", "testing"), ("test2:tester2", "testing2"), ("admin:admin", "admin")]
    clients = [client_of(cluster, *user, proxy=number % 2) for number, user in enumerate(users)]

    def create(client, name: str) -> str:
        try:
            client.create_bucket(Bucket=name)
            return "won"
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(4) as pool:
        for _ in range(15):
            name = f"race-{os.urandom(4).hex()}"
            told = sorted(pool.map(create, clients, [name] * 3))
            assert told == ["BucketAlreadyExists"] * 2 + ["won"]


def test_swifts_containers_are_buckets_of_their_account_first(cluster: BlockingCluster, mine, theirs) -> None:
    name, swift = f"both-{os.urandom(4).hex()}", Swift(cluster.endpoints[0])
    assert swift.request("PUT", f"/{name}").status == 201
    theirs.create_bucket(Bucket=name)
    theirs.put_object(Bucket=name, Key="whose", Body=b"theirs")
    assert code_of(mine.get_object, Bucket=name, Key="whose") == ("NoSuchKey", 404)
    mine.put_object(Bucket=name, Key="whose", Body=b"mine")
    assert mine.get_object(Bucket=name, Key="whose")["Body"].read() == b"mine"
    assert theirs.get_object(Bucket=name, Key="whose")["Body"].read() == b"theirs"


@pytest.mark.parametrize("host", [False, True])
def test_requests_that_nobody_signed(cluster: BlockingCluster, mine, bucket: str, host: bool) -> None:
    url = cluster.endpoints[0] + ("" if host else f"/{bucket}")
    fields = {"Host": f"{bucket}.{DOMAIN}"} if host else {}

    def code(method: str, path: str, **more: object) -> tuple[int, str]:
        answer = requests.request(method, url + path, headers=fields, timeout=20, **more)
        return answer.status_code, answer.text.partition("<Code>")[2].partition("<")[0]

    for path in ("/o", "/missing", "", "?acl", "?location"):
        assert code("GET", path) == (403, "AccessDenied")
    mine.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert requests.get(url + "/o", headers=fields, timeout=20).content == b"body"
    assert code("GET", "/missing") == (404, "NoSuchKey")
    listed = requests.get(url, headers=fields, timeout=20)
    assert "<Key>o</Key>" in listed.text and listed.status_code == 200
    for method, path in (("PUT", "/o"), ("DELETE", "/o"), ("POST", "/o?uploads"), ("PUT", "?acl"), ("GET", "?acl"), ("DELETE", "")):
        assert code(method, path, data=b"x" if method == "PUT" else None) == (403, "AccessDenied"), (method, path)
    assert code("GET", "/o?response-content-type=a%2Fb") == (400, "InvalidRequest")
    swift = Swift(cluster.endpoints[0])
    assert swift.request("HEAD", f"/{bucket}").headers["x-container-read"] == ".r:*,.rlistings"
    assert swift.request("POST", f"/{bucket}", headers={"X-Container-Read": ".r:*"}).status == 204
    assert requests.get(url + "/o", headers=fields, timeout=20).content == b"body"
    assert code("GET", "/missing") == (403, "AccessDenied"), "who may not list is not told what is missing"
    mine.put_bucket_acl(Bucket=bucket, ACL="private")
    assert code("GET", "/o") == (403, "AccessDenied")


def test_who_may_read_but_not_list(cluster: BlockingCluster, mine, theirs, bucket: str) -> None:
    """What is missing is told to nobody who may not list: not by a copy, nor to the account's other users."""
    assert Swift(cluster.endpoints[0]).request("POST", f"/{bucket}", headers={"X-Container-Read": ".r:*"}).status == 204
    own, there, missing = f"own-{os.urandom(4).hex()}", {"Bucket": bucket, "Key": "o"}, {"Bucket": bucket, "Key": "missing"}
    theirs.create_bucket(Bucket=own)
    upload = theirs.create_multipart_upload(Bucket=own, Key="m")["UploadId"]
    denied = ("AccessDenied", 403)
    theirs.copy_object(Bucket=own, Key="c", CopySource=there)
    assert code_of(theirs.copy_object, Bucket=own, Key="c", CopySource=missing) == denied
    part = {"Bucket": own, "Key": "m", "UploadId": upload, "PartNumber": 1}
    theirs.upload_part_copy(**part, CopySource=there)
    assert code_of(theirs.upload_part_copy, **part, CopySource=missing) == denied
    third = client_of(cluster, "test:tester3", "testing3")
    assert third.get_object(**there)["Body"].read() == b"body"
    assert code_of(third.get_object, **missing) == denied
    assert code_of(mine.get_object, **missing) == ("NoSuchKey", 404)
    assert code_of(mine.copy_object, Bucket=bucket, Key="c", CopySource=missing) == ("NoSuchKey", 404)
    mine.put_bucket_acl(Bucket=bucket, GrantWrite=f'id="{THEIRS}"')
    gone = {"Bucket": own, "Key": "missing"}
    assert code_of(theirs.copy_object, Bucket=bucket, Key="c", CopySource=gone) == ("NoSuchKey", 404), "of one's own, all is told"


def test_no_bucket_and_no_signature(cluster: BlockingCluster) -> None:
    base = cluster.endpoints[0]
    answer = requests.get(f"{base}/nobody-has-it/o", timeout=20)
    assert answer.status_code == 404 and "<Code>NoSuchBucket</Code>" in answer.text
    assert requests.get(f"{base}/", timeout=20).status_code == 403
    assert "<Code>AccessDenied</Code>" in requests.put(f"{base}/new-bucket", timeout=20).text
    assert requests.get(f"{base}/healthcheck", timeout=20).text == "OK"
    assert requests.get(f"{base}/v1/AUTH_test/c/o", timeout=20).status_code == 401


def test_the_stores_own_accounts_are_nobodys(cluster: BlockingCluster, mine, bucket: str) -> None:
    """Neither a reseller nor an owner reads, changes or deletes them, or copies from them, through either API."""
    mine.create_multipart_upload(Bucket=bucket, Key="open")
    for user, key in (("admin:admin", "admin"), ("test:tester", "testing")):
        swift = Swift(cluster.endpoints[0], user, key)
        base, fields = cluster.endpoints[0], {"X-Auth-Token": swift.token, "X-Container-Write": "*:*"}
        for account in (".buckets", ".multipart-AUTH_test", ".new"):
            for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
                for path in ("", "/claims", f"/claims/{bucket}", f"/{bucket}"):
                    answer = requests.request(method, f"{base}/v1/{account}{path}", headers=fields, timeout=20)
                    assert answer.status_code == 403, (user, method, account, path)
        copied = {"X-Copy-From": f"/claims/{bucket}", "X-Copy-From-Account": ".buckets", "Content-Length": "0"}
        assert requests.put(f"{base}/v1/AUTH_test/{bucket}/x", headers=fields | copied, timeout=20).status_code == 403
        client = client_of(cluster, user, key)
        assert code_of(client.list_objects_v2, Bucket="claims") == ("NoSuchBucket", 404)
        source = {"Bucket": ".buckets", "Key": f"claims/{bucket}"}
        assert code_of(client.copy_object, Bucket=bucket, Key="x", CopySource=source)[1] in (400, 404)
    assert mine.get_object(Bucket=bucket, Key="o")["Body"].read() == b"body"


def test_a_bucket_for_another_account(mine, theirs, bucket: str) -> None:
    mine.put_bucket_acl(Bucket=bucket, GrantRead=f'id="{THEIRS}"')
    assert grants(mine, bucket) == grants(mine, bucket, Key="o") == [(THEIRS, "READ")]
    assert theirs.get_object(Bucket=bucket, Key="o")["Body"].read() == b"body"
    assert [row["Key"] for row in theirs.list_objects_v2(Bucket=bucket)["Contents"]] == ["o"]
    assert code_of(theirs.get_object, Bucket=bucket, Key="missing") == ("NoSuchKey", 404)
    assert code_of(theirs.put_object, Bucket=bucket, Key="o", Body=b"x") == ("AccessDenied", 403)
    assert code_of(theirs.get_bucket_acl, Bucket=bucket) == ("AccessDenied", 403)
    assert code_of(theirs.put_bucket_acl, Bucket=bucket, ACL="public-read") == ("AccessDenied", 403)
    own = f"own-{os.urandom(4).hex()}"
    theirs.create_bucket(Bucket=own)
    theirs.copy_object(Bucket=own, Key="copy", CopySource={"Bucket": bucket, "Key": "o"})
    assert theirs.get_object(Bucket=own, Key="copy")["Body"].read() == b"body"
    assert code_of(mine.copy_object, Bucket=bucket, Key="x", CopySource={"Bucket": own, "Key": "copy"}) == ("AccessDenied", 403)
    mine.put_bucket_acl(Bucket=bucket, GrantWrite=f'id="{THEIRS}"')
    theirs.put_object(Bucket=bucket, Key="by them", Body=b"x")
    assert code_of(theirs.get_object, Bucket=bucket, Key="o") == ("AccessDenied", 403)
    assert mine.get_object(Bucket=bucket, Key="by them")["Body"].read() == b"x"
    mine.put_bucket_acl(Bucket=bucket, GrantFullControl=f'id="{THEIRS}"')
    assert grants(mine, bucket) == [(THEIRS, "FULL_CONTROL")]
    theirs.delete_object(Bucket=bucket, Key="o")


def test_a_list_as_a_document(mine, bucket: str) -> None:
    def policy(*given: dict, owner: str = MINE) -> dict:
        return {"Owner": {"ID": owner}, "Grants": list(given)}

    everybody = {"Grantee": {"Type": "Group", "URI": EVERYBODY}, "Permission": "READ"}
    any_user = {"Grantee": {"Type": "Group", "URI": ANY_USER}, "Permission": "WRITE"}
    owner = {"Grantee": {"Type": "CanonicalUser", "ID": MINE}, "Permission": "FULL_CONTROL"}
    them = {"Grantee": {"Type": "CanonicalUser", "ID": THEIRS}, "Permission": "READ"}
    mine.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy(owner, everybody, any_user, them))
    assert grants(mine, bucket) == [(EVERYBODY, "READ"), (THEIRS, "READ"), (ANY_USER, "WRITE")]
    put = mine.put_bucket_acl
    assert code_of(put, Bucket=bucket, AccessControlPolicy=policy(owner, owner=THEIRS)) == ("AccessDenied", 403)
    wrong = {**everybody, "Permission": "EVERYTHING"}
    assert code_of(put, Bucket=bucket, AccessControlPolicy=policy(wrong)) == ("MalformedACLError", 400)
    stranger = {"Grantee": {"Type": "Group", "URI": "http://nobody"}, "Permission": "READ"}
    assert code_of(put, Bucket=bucket, AccessControlPolicy=policy(stranger)) == ("InvalidArgument", 400)
    mail = {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": "a@b.c"}, "Permission": "READ"}
    assert code_of(put, Bucket=bucket, AccessControlPolicy=policy(mail)) == ("UnresolvableGrantByEmailAddress", 400)
    writers = {**everybody, "Permission": "WRITE"}
    assert code_of(put, Bucket=bucket, AccessControlPolicy=policy(writers)) == ("NotImplemented", 501)
    assert code_of(put, Bucket=bucket, ACL="public-read-write") == ("NotImplemented", 501)
    assert code_of(put, Bucket=bucket, ACL="nonsense") == ("InvalidArgument", 400)
    assert code_of(put, Bucket=bucket, ACL="private", GrantRead=f'id="{THEIRS}"') == ("InvalidRequest", 400)
    assert code_of(put, Bucket=bucket, GrantRead='id="a,b c"')[1] == 400
    assert code_of(put, Bucket=bucket) == ("MissingSecurityHeader", 400)
    assert grants(mine, bucket) == [(EVERYBODY, "READ"), (THEIRS, "READ"), (ANY_USER, "WRITE")], "as before"
    mine.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
    assert grants(mine, bucket) == [(ANY_USER, "READ")]


def test_a_new_bucket_with_a_list(mine, theirs) -> None:
    name = f"bucket-{os.urandom(4).hex()}"
    assert code_of(mine.create_bucket, Bucket=name, ACL="nonsense") == ("InvalidArgument", 400)
    mine.create_bucket(Bucket=name, ACL="public-read")
    assert grants(mine, name) == [(EVERYBODY, "READ")]
    assert theirs.list_objects_v2(Bucket=name)["KeyCount"] == 0


def test_lists_of_objects_say_nothing_new(mine, bucket: str) -> None:
    for acl in ("private", "bucket-owner-full-control", "bucket-owner-read"):
        mine.put_object(Bucket=bucket, Key="p", Body=b"x", ACL=acl)
        mine.put_object_acl(Bucket=bucket, Key="p", ACL=acl)
    refused = ("AccessControlListNotSupported", 400)
    assert code_of(mine.put_object, Bucket=bucket, Key="q", Body=b"x", ACL="public-read") == refused
    assert code_of(mine.put_object_acl, Bucket=bucket, Key="p", ACL="public-read") == refused
    assert code_of(mine.create_multipart_upload, Bucket=bucket, Key="q", ACL="public-read") == refused
    assert code_of(mine.copy_object, Bucket=bucket, Key="q", CopySource=f"{bucket}/p", ACL="public-read") == refused
    assert code_of(mine.head_object, Bucket=bucket, Key="q")[1] == 404
    mine.put_bucket_acl(Bucket=bucket, ACL="public-read")
    mine.put_object(Bucket=bucket, Key="q", Body=b"x", ACL="public-read")
    mine.put_object_acl(Bucket=bucket, Key="q", ACL="public-read")
    assert grants(mine, bucket, Key="q") == [(EVERYBODY, "READ")]
    assert code_of(mine.get_object_acl, Bucket=bucket, Key="missing") == ("NoSuchKey", 404)
    assert code_of(mine.put_object_acl, Bucket=bucket, Key="missing", ACL="private") == ("NoSuchKey", 404)
