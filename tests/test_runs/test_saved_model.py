"""What lies beside an exported model."""

import pytest

from dvae.errors import UserError
from dvae.evaluation import saved_model


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not json", "Expecting value"),
        ("[1]", "must be an object"),
        ('{"settings": 3}', "is not of this program"),
        ('{"settings": {"model": "pwl"}, "checksum": "", "step": 1}', "lacks seconds"),
        ('{"settings": {"model": "pwl"}, "checksum": "", "step": 1, "seconds": 2}', "lacks data_dir, dataset"),
    ],
)
def test_origin_that_cannot_be_used(content, reason, tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "run.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        saved_model.read_origin(tmp_path)
    with pytest.raises(UserError, match=f"must be a model exported by this program .*{reason}"):
        saved_model.load(tmp_path)
