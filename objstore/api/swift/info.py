"""What `/info` says of the Swift API: the features that exist and the limits that are enforced, from where they are enforced."""

from typing import Any

from objstore.api.limits import EdgeLimits
from objstore.api.swift.call import SwiftLimits
from objstore.model import checksums, manifest, metadata, names, parts
from objstore.model.policy import Policies

S3_LISTING_MAX = 1000
"""Names on a page of the S3 API, and keys in a request that deletes many."""


def swift_info(version: str, policies: Policies, limits: SwiftLimits, edge: EdgeLimits) -> dict[str, Any]:
    """The sections of `/info`; keys and meanings as in Swift's discoverability page."""
    return {
        "swift": {
            "version": version,
            "policies": [
                {"name": policy.name, "aliases": ", ".join(policy.names)} | ({"default": True} if policy.default else {})
                for policy in policies
                if not policy.deprecated
            ],
            "strict_cors_mode": True,
            "allow_account_management": False,
            "account_autocreate": True,
            "allow_open_expired": True,
            "max_file_size": limits.object_bytes_max,
            "max_meta_name_length": metadata.NAME_BYTES_MAX,
            "max_meta_value_length": metadata.VALUE_BYTES_MAX,
            "max_meta_count": metadata.COUNT_MAX,
            "max_meta_overall_size": metadata.OVERALL_BYTES_MAX,
            "max_header_size": edge.field_bytes_max,
            "max_account_name_length": names.ACCOUNT_NAME_BYTES_MAX,
            "max_container_name_length": names.CONTAINER_NAME_BYTES_MAX,
            "max_object_name_length": names.OBJECT_NAME_BYTES_MAX,
            "account_listing_limit": limits.account_listing_max,
            "container_listing_limit": limits.container_listing_max,
        },
        "slo": {
            "max_manifest_segments": limits.manifest_segments_max,
            "max_manifest_size": limits.manifest_bytes_max,
            "min_segment_size": 1,
            "yield_frequency": int(limits.yield_every_s),
            "max_inline_data_size": manifest.DATA_BYTES_MAX,
        },
        "dlo": {},
        "s3api": {
            "max_bucket_listing": S3_LISTING_MAX,
            "max_parts_listing": S3_LISTING_MAX,
            "max_upload_part_num": checksums.PARTS_MAX,
            "max_multi_delete_objects": S3_LISTING_MAX,
            "allow_multipart_uploads": True,
            "min_segment_size": parts.PART_BYTES_MIN,
            "s3_acl": False,
        },
        "bulk_delete": {"max_deletes_per_request": limits.bulk_deletes_max, "max_failed_deletes": limits.bulk_deletes_max},
        "tempauth": {"account_acls": True},
        "account_quotas": {},
        "container_quotas": {},
    }
