"""A trader's folder, as commands find it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.client_command import CONFIG


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a configuration and the password of a store that is still to be made, and another one."""
    (tmp_path / "twinlock.toml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "new").write_text("battery staple\n")
    return tmp_path
