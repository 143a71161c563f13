"""A configuration is read exactly, refused by section.key, and never keeps a secret."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.config import DERIVED, Config, ConfigError, config_schema, config_text, forms, load_config
from equipoise.errors import InputError
from equipoise.quoter import QuoterConfig
from equipoise.redaction import has_literal_secret, is_secret_name, redact


def written(folder: Path, text: str) -> Path:
    path = folder / "equipoise.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None, *options: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, text), environ=environ or {}, options=options)
    return caught.value


def test_the_written_file_reads_back_to_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, config_text()), environ={}) == Config()
    assert load_config(environ={}) == Config()


def test_the_written_file_says_what_every_key_is() -> None:
    lines = config_text().splitlines()
    for entry in forms.entries(Config(), DERIVED):
        assert entry.words, f"{entry.path} has no words in its docstring"
        assert any(line.lstrip("# ").startswith(f"{entry.name} =") for line in lines), entry.path
    assert all(len(line) <= 110 for line in lines)


def test_a_default_is_defined_once() -> None:
    assert Config().quoter == QuoterConfig(mark_buffer_bps=40.0)


@pytest.mark.parametrize("path", [entry.path for entry in forms.entries(Config(), DERIVED)])
def test_every_key_can_be_overridden_from_the_environment(path: str) -> None:
    entry = next(entry for entry in forms.entries(Config(), DERIVED) if entry.path == path)
    value: Any = {bool: not entry.default, int: 7, str: "sum", float: 0.35, Decimal: Decimal("1.25")}.get(entry.kind)
    if issubclass(entry.kind, StrEnum):
        value = list(entry.kind)[-1]
    special = {
        "reservation.url": "sqlite:///margin.db",
        "quoter.temperature_factor": 1.25,
        "quoter.weight_max": 0.75,
        "quoter.share_floor": 0.1,
    }
    value = special.get(path, value)
    variable = "EQUIPOISE__" + path.replace(".", "__").upper()
    config = load_config(environ={variable: str(value).lower() if entry.kind is bool else str(value)})
    settings = forms.settings(config, DERIVED)
    section, _, name = path.rpartition(".")
    assert settings[section][name] == value


def test_a_value_comes_from_the_file_then_the_environment_then_the_options(tmp_path: Path) -> None:
    path = written(tmp_path, "[quoter]\nlevels = 6\n")
    assert load_config(path, environ={}).quoter.levels == 6
    environ = {"EQUIPOISE__QUOTER__LEVELS": "8"}
    assert load_config(path, environ=environ).quoter.levels == 8
    assert load_config(path, environ=environ, options=["quoter.levels=9"]).quoter.levels == 9


def test_account_and_fees_are_said_once_and_reach_the_session() -> None:
    config = load_config(
        environ={},
        options=["account.leverage=5", "account.balance=100", "venue.maker_fee_bps=-0.5", "quoter.mark_buffer_bps=12"],
    )
    plan = config.replay()
    assert (plan.session.leverage, plan.balance, plan.maker_fee_bps) == (Decimal(5), Decimal(100), Decimal("-0.5"))
    assert (plan.session.maker_fee_bps, plan.session.mark_buffer_bps, plan.quoter.mark_buffer_bps) == (-0.5, 12.0, 12.0)


@pytest.mark.parametrize(
    ("text", "argument", "nearest"),
    [
        ("[quoter]\nlevel = 3\n", "quoter.level", "quoter.levels"),
        ("[quoter]\nleverage = 3\n", "quoter.leverage", "account.leverage"),
        ("[qouter]\nlevels = 3\n", "qouter.levels", "quoter.levels"),
        ("levels = 3\n", "levels", "quoter.levels"),
        ("[quoter.kelly]\nfractoin = 0.1\n", "quoter.kelly.fractoin", "quoter.kelly.fraction"),
        ("[session]\nleverage = 3\n", "session.leverage", "account.leverage"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    tmp_path: Path, text: str, argument: str, nearest: str
) -> None:
    error = refusal(tmp_path, text)
    assert error.argument == argument
    assert f"nearest: {nearest}" in str(error)


def test_an_unknown_section_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[nothing]\n").argument == "nothing"
    assert load_config(written(tmp_path, "[quoter]\n[quoter.kelly]\n"), environ={}) == Config()


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("[quoter]\nlevels = 5.0\n", "quoter.levels"),
        ("[quoter]\nlevels = true\n", "quoter.levels"),
        ('[quoter]\nlevels = "5"\n', "quoter.levels"),
        ("[quoter]\nlevels = [5]\n", "quoter.levels"),
        ("[quoter]\nlevels = 0\n", "quoter.levels"),
        ("[quoter]\nhaircut = 1.5\n", "quoter.haircut"),
        ('[quoter]\noptimizer = "magic"\n', "quoter.optimizer"),
        ("[quoter]\ndepth_outer_bps = nan\n", "quoter.depth_outer_bps"),
        ("[quoter]\ndepth_outer_bps = inf\n", "quoter.depth_outer_bps"),
        ("[account]\nleverage = 0.5\n", "account.leverage"),
        ("[account]\nbalance = -1\n", "account.balance"),
        ("[account]\nbalance = 1e999\n", "account.balance"),
        ('[account]\nid = ""\n', "account.id"),
        ("[market]\nseconds = 0\n", "market.seconds"),
        ("[session]\nverify = 1\n", "session.verify"),
        ('[venue]\nrule = "nowhere"\n', "venue.rule"),
        ("[venue]\nmaker_fee_bps = 2024-01-01\n", "venue.maker_fee_bps"),
        ("quoter = 5\n", "quoter"),
    ],
)
def test_a_wrong_value_is_refused_by_section_and_key(tmp_path: Path, text: str, argument: str) -> None:
    error = refusal(tmp_path, text)
    assert error.argument == argument
    assert isinstance(error, InputError)


def test_decimals_are_read_exactly(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "[account]\nbalance = 397.49\nleverage = 3\n"), environ={})
    assert config.account.balance == Decimal("397.49")
    assert isinstance(config.account.leverage, Decimal)


def test_text_that_is_not_toml_says_where(tmp_path: Path) -> None:
    error = refusal(tmp_path, "[quoter]\nlevels = \n")
    assert "line 2" in str(error)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file that exists"):
        load_config(tmp_path / "none.toml", environ={})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.toml", environ={})
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path, environ={})


def test_references_are_replaced_and_must_be_set(tmp_path: Path) -> None:
    text = '[account]\nid = "${WHO}:${N}"\nbalance = "${MONEY}"\n'
    config = load_config(written(tmp_path, text), environ={"WHO": "desk", "N": "6", "MONEY": "12.5"})
    assert (config.account.id, config.account.balance) == ("desk:6", Decimal("12.5"))
    error = refusal(tmp_path, text, {"WHO": "desk", "MONEY": "1"})
    assert error.argument == "account.id"
    assert "N is not" in str(error)
    assert refusal(tmp_path, '[account]\nbalance = "${MONEY}"\n', {"MONEY": "much"}).argument == "account.balance"


def test_an_optional_key_can_be_unset_from_outside(tmp_path: Path) -> None:
    path = written(tmp_path, "[account]\nposition_max = 3\n")
    assert load_config(path, environ={}).account.position_max == 3
    assert load_config(path, environ={"EQUIPOISE__ACCOUNT__POSITION_MAX": ""}).account.position_max is None


def test_overrides_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"quoter\.lvels .*from EQUIPOISE__QUOTER__LVELS"):
        load_config(environ={"EQUIPOISE__QUOTER__LVELS": "3"})
    with pytest.raises(ConfigError, match=r"quoter\.levels must be a whole number, got 'x' \(from EQUIPOISE__"):
        load_config(environ={"EQUIPOISE__QUOTER__LEVELS": "x"})
    with pytest.raises(ConfigError, match=r"--set must be section\.key=value"):
        load_config(environ={}, options=["quoter.levels"])


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "hunter2"',
        'private_key = "0xhunter2"',
        "password = 42",
        'secret = "${A}hunter2"',
        'url = "redis://:hunter2@host"',
    ],
)
def test_a_secret_written_out_is_refused_and_never_repeated(tmp_path: Path, line: str) -> None:
    error = refusal(tmp_path, f"[reservation]\n{line}\n", {"A": "b"})
    assert "hunter2" not in str(error)
    assert "42" not in str(error)
    assert "not the secret itself" in str(error)


def test_a_password_from_the_environment_is_used_and_not_shown(tmp_path: Path) -> None:
    path = written(tmp_path, '[reservation]\nurl = "redis://bot:${PASSWORD}@host/0"\n')
    config = load_config(path, environ={"PASSWORD": "hunter2"})
    assert config.reservation.url == "redis://bot:hunter2@host/0"
    assert "hunter2" not in repr(config)
    assert "hunter2" not in json.dumps(config.settings())
    assert config.settings()["reservation"]["url"] == "redis://bot:***@host/0"


def test_secret_names_are_known_by_their_words() -> None:
    assert all(is_secret_name(name) for name in ("key", "api_key", "SECRET", "db_password", "private_key", "token_id"))
    assert not any(is_secret_name(name) for name in ("keyboard", "levels", "monkey", "tokens_per_second"))
    assert not has_literal_secret("api_key", "${KEY}")
    assert not has_literal_secret("url", "redis://host:6379/0")
    assert has_literal_secret("api_key", "${KEY} ")
    assert redact("api_key", "x") == "(hidden)"


def test_the_schema_names_every_key_with_kind_and_default() -> None:
    schema = json.loads(json.dumps(config_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/")
    for entry in forms.entries(Config(), DERIVED):
        place = schema
        for part in entry.path.split("."):
            assert place["additionalProperties"] is False
            place = place["properties"][part]
        assert place["description"]
        assert ("default" in place) == (entry.default is not None)
    assert schema["properties"]["quoter"]["properties"]["optimizer"]["enum"] == ["entropy", "proportional", "kelly"]


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """Inner.

    Parameters
    ----------
    text, api_key
        Words.
    """

    text: str = "a"
    api_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Whole.

    Parameters
    ----------
    number
        A number.
    count
        A count.
    flag
        A flag.
    colour
        A colour.
    amount
        An amount.
    """

    number: float = 0.5
    inner: Inner = field(default_factory=Inner)
    count: int | None = None
    flag: bool = False
    colour: Colour = Colour.RED
    amount: Decimal = Decimal("1.10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Root."""

    whole: Whole = field(default_factory=Whole)


@given(
    number=st.floats(allow_nan=False, allow_infinity=False),
    count=st.none() | st.integers(-(2**63), 2**63 - 1),
    flag=st.booleans(),
    colour=st.sampled_from(Colour),
    amount=st.decimals(allow_nan=False, allow_infinity=False, places=8),
    text=st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: "${" not in text and "://" not in text),
)
def test_what_is_written_reads_back_as_it_was(**values: Any) -> None:
    text = values.pop("text")
    root = Root(whole=Whole(**values, inner=Inner(text=text)))
    again = forms.build(Root(), forms.parse(forms.to_toml(root), "text"), {})
    assert again == root
    assert tomllib.loads(forms.to_toml(root))


def test_a_secret_of_the_schema_takes_a_reference() -> None:
    given_ = forms.parse('[whole.inner]\napi_key = "${KEY}"\n', "text")
    assert forms.build(Root(), given_, {"KEY": "abc"}).whole.inner.api_key == "abc"
    with pytest.raises(ConfigError) as caught:
        forms.build(Root(), given_, {})
    assert caught.value.argument == "whole.inner.api_key"
