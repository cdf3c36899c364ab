"""What the tests with S3's own client share."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from objstore.testing.blocking import BlockingCluster


def client_of(cluster: BlockingCluster, key: str = "test:tester", secret: str = "testing", proxy: int = 0, **settings: object):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, **settings)
    endpoint = cluster.endpoints[proxy]
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1", config=config
    )


def code_of(call, **arguments: object) -> tuple[str, int]:
    """The code and status of a call that fails."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
