import pytest

from objstore.model.errors import InvalidInput
from objstore.model.policy import ONE_POLICY, Policies, Policy

GOLD = Policy(1, "Gold", default=True, aliases=("au", "yellow"))
OLD = Policy(2, "Old", deprecated=True)


def test_choosing() -> None:
    policies = Policies([GOLD, OLD])
    assert policies.default is policies.choose("gold") is policies.choose("AU") is policies.get(1) is GOLD
    assert policies.get(7) is None
    assert list(policies) == [GOLD, OLD]
    with pytest.raises(InvalidInput, match="Invalid X-Storage-Policy 'zork'"):
        policies.choose("zork")
    with pytest.raises(InvalidInput):
        policies.choose("old")
    assert ONE_POLICY.default.index == 0


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [OLD],
        [GOLD, Policy(1, "other")],
        [GOLD, Policy(3, "AU")],
        [GOLD, Policy(3, "x", default=True)],
        [Policy(0, "x", default=True, deprecated=True)],
    ],
)
def test_sets_no_cluster_can_have(wrong: list[Policy]) -> None:
    with pytest.raises(ValueError, match="polic"):
        Policies(wrong)
