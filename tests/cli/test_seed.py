"""Words and passphrases through the real command line: made, restored, recovered, and told when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.vectors_for_tests import fixture

from twinlock.chain import bip39
from twinlock.cli.client import client
from twinlock.cli.main import main
from twinlock.client import seed
from twinlock.client.keys import TraderKeys
from twinlock.client.recovery import file as recovery_file
from twinlock.client.store import SqliteStore
from twinlock.client.store.records import AccountRecord
from twinlock.client.store.sqlite import has_store
from twinlock.seams import SeededEntropy

CONFIG = """
data_dir = "{folder}/data"
network = "regtest"
wallets = []
[[servers]]
host = "127.0.0.1:1"
"""
PASSWORD = "correct horse"
WORDS = "abandon " * 11 + "about"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "twinlock.toml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "words").write_text(WORDS)
    (tmp_path / "passphrase").write_text("TREZOR\n")
    return tmp_path


def run(folder: Path, *arguments: str, typed: str = "", **environment: str) -> Result:
    options = ["client", "--config", str(folder / "twinlock.toml"), "--password-file", str(folder / "password")]
    return CliRunner().invoke(main, [*options, *arguments], input=typed, env=environment)


def kept(folder: Path) -> seed.Phrase:
    store = SqliteStore(folder / "data", PASSWORD, SeededEntropy(1))
    try:
        return seed.required(store)
    finally:
        store.close()


@pytest.mark.parametrize("number", range(0, 16, 4))
def test_words_and_passphrase_open_the_seed_of_the_standard(folder: Path, number: int) -> None:
    rows = fixture("vectors/bips/bip39-mnemonic.json")["english"]
    _, words, expected, _ = [row for row in rows if len(row[1].split()) in (12, 24)][number]
    (folder / "words").write_text(f"  {words.upper()}\n")
    files = ["--words-file", str(folder / "words"), "--passphrase-file", str(folder / "passphrase")]
    made = run(folder, "init", *files)
    assert made.exit_code == 0, made.output
    assert kept(folder).master().hex() == expected
    assert "TREZOR" not in made.output
    assert b"TREZOR" not in (folder / "data" / "client.db").read_bytes()
    assert "TREZOR" not in repr(kept(folder))


@pytest.mark.parametrize("how", ["prompt", "environment", "file"])
def test_a_passphrase_is_asked_for_or_comes_from_where_nobody_sees_it(folder: Path, how: str) -> None:
    if how == "prompt":
        made = run(folder, "--json", "init", "--restore", "--with-passphrase", typed=f"{WORDS}\nTREZOR\n")
    elif how == "environment":
        made = run(folder, "--json", "init", "--restore", typed=f"{WORDS}\n", TWINLOCK_PASSPHRASE="TREZOR")
    else:
        variable = {"TWINLOCK_PASSPHRASE_FILE": str(folder / "passphrase")}
        made = run(folder, "--json", "init", "--restore", typed=f"{WORDS}\n", **variable)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {"restored": True, "words": "", "passphrase": True}
    assert kept(folder).master() == bip39.to_seed(WORDS, "TREZOR")


@pytest.mark.parametrize("length", ["12", "24"])
def test_a_new_seed_has_as_many_words_as_wanted_and_its_passphrase_is_asked_for_twice(
    folder: Path, length: str
) -> None:
    unsure = run(folder, "--json", "init", "--length", length, "--with-passphrase", typed="one\ntwo\n")
    assert (unsure.exit_code, has_store(folder / "data")) == (1, False)
    made = run(folder, "--json", "init", "--length", length, "--with-passphrase", typed="one\none\n")
    told = json.loads(made.stdout)
    assert (len(told["words"].split()), told["passphrase"]) == (int(length), True)
    assert kept(folder) == seed.Phrase(told["words"], "one")


def test_words_that_are_none_make_no_store(folder: Path) -> None:
    (folder / "words").write_text("abandon " * 12)
    for command in ("init", "recover"):
        refused = run(folder, command, "--words-file", str(folder / "words"))
        assert (refused.exit_code, "chain.key.checksum" in refused.output) == (1, True)
        assert not has_store(folder / "data")


def test_recovering_with_a_wrong_passphrase_is_told_and_leaves_nothing_behind(folder: Path) -> None:
    (folder / "twinlock.toml").write_text(CONFIG.format(folder=folder).partition("[[servers]]")[0])
    wrong = run(folder, "recover", "--words-file", str(folder / "words"), TWINLOCK_PASSPHRASE="wrong")
    assert wrong.exit_code == 4
    assert "belongs to these words with this passphrase" in wrong.stderr
    assert not has_store(folder / "data")
    assert not (folder / "data" / "recovery.twinlock").exists()
    empty = run(folder, "init", "--words-file", str(folder / "words"), "--passphrase-file", str(folder / "passphrase"))
    assert empty.exit_code == 0
    other = run(folder, "recover", "--words-file", str(folder / "words"), TWINLOCK_PASSPHRASE="wrong")
    assert (other.exit_code, "client.exists" in other.output) == (1, True)


def write_recovery_file(folder: Path, phrase: seed.Phrase) -> Path:
    account = AccountRecord(host="127.0.0.1:1", server_pubkey=b"\x02" * 33, key_index=0, account_id=b"\x01" * 32)
    contents = recovery_file.Contents(network="regtest", accounts=(account,))  # type: ignore[arg-type]
    path = folder / "data" / "recovery.twinlock"
    path.parent.mkdir(exist_ok=True)
    key = TraderKeys(phrase.master()).recovery_key()
    path.write_bytes(recovery_file.seal(key, recovery_file.pack(contents), SeededEntropy(1)))
    return path


def test_the_recovery_file_that_is_in_its_place_is_read_and_opens_with_the_right_passphrase_only(folder: Path) -> None:
    path = write_recovery_file(folder, seed.Phrase(WORDS, "TREZOR"))
    before = path.read_bytes()
    words = ["--words-file", str(folder / "words")]
    refused = run(folder, "recover", "--no-wait", *words)
    assert (refused.exit_code, "recovery.file" in refused.output) == (1, True)
    assert not has_store(folder / "data")
    assert path.read_bytes() == before


def test_a_new_store_spares_the_recovery_file_of_an_old_one(folder: Path) -> None:
    (folder / "twinlock.toml").write_text(CONFIG.format(folder=folder).partition("[[servers]]")[0])
    path = write_recovery_file(folder, seed.Phrase(WORDS, "TREZOR"))
    before = path.read_bytes()
    assert run(folder, "init").exit_code == 0
    assert run(folder, "wallet", "show").exit_code == 0
    assert path.with_name("recovery.twinlock.aside-1").read_bytes() == before
    assert run(folder, "wallet", "show").exit_code == 0
    assert not path.with_name("recovery.twinlock.aside-2").exists()


def test_no_option_of_any_command_takes_a_secret() -> None:
    def commands(group: click.Group) -> list[click.Command]:
        found: list[click.Command] = []
        for command in group.commands.values():
            found += commands(command) if isinstance(command, click.Group) else [command]
        return found

    for command in commands(client):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                names = {"--key", "--words", "--password", "--passphrase", "--descriptor", "--code", "--secret"}
                assert not names & set(parameter.opts), (command.name, parameter.opts)
