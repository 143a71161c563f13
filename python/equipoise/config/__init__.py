"""The configuration of a run: TOML with unknown keys refused, `${NAME}` expansion and overrides from the environment.

A value is taken from, in rising order: the defaults below, the file, variables named `EQUIPOISE__SECTION__KEY`, and
options of the command line. Secrets are never written in the file: a key whose name says it is one, or a password
inside a URL, must be a reference `${NAME}`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.config import forms
from equipoise.config.forms import ConfigError, Given
from equipoise.errors import InputError
from equipoise.quoter import QuoterConfig
from equipoise.redaction import redact
from equipoise.session import SessionConfig

if TYPE_CHECKING:
    from equipoise.replay import ReplayConfig

__all__ = [
    "AccountSection",
    "Config",
    "ConfigError",
    "MarketSection",
    "ReportSection",
    "ReservationSection",
    "VenueSection",
    "config_schema",
    "config_text",
    "load_config",
]

HEAD = (
    "Configuration of Equipoise. Every value below is the default; delete what you do not change.",
    "Text may refer to the environment as ${NAME}; secrets must. Any key can be overridden by a variable named",
    "EQUIPOISE__SECTION__KEY, for example EQUIPOISE__QUOTER__LEVELS=10. A key without a value is not set.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSection:
    """What is quoted: a recording, or the seeded generator's market where none is given.

    Parameters
    ----------
    symbol
        Instrument to replay from a recording that holds several. Not set: the only one there is; the generator calls
        its market SOL.
    seconds
        Length of a generated market.
    notional_min
        Smallest order value at the venue, account currency.
    seed
        Of the generated market and of the venue's travel times. The same seed gives the same run.
    """

    symbol: str | None = None
    seconds: int = 600
    notional_min: Decimal = Decimal(10)
    seed: int = 1

    def __post_init__(self) -> None:
        _require(self.seconds >= 1, "seconds", "at least 1", self.seconds)
        _require(self.notional_min >= 0, "notional_min", "at least 0", self.notional_min)


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSection:
    """The paper venue.

    Parameters
    ----------
    rule
        Order-margin rule that quoter, book and venue share: a venue's name or a bare rule, see docs/order-margin.md.
    maker_fee_bps, taker_fee_bps
        Fees in 10^-4 of the value; negative is a rebate.
    """

    rule: str = "sum"
    maker_fee_bps: Decimal = Decimal("1.5")
    taker_fee_bps: Decimal = Decimal("4.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSection:
    """The account that is quoted from.

    Parameters
    ----------
    id
        Its name in the reservation book.
    balance
        Money at the start, account currency.
    leverage
        At the venue, at least 1.
    position_max
        Limit on the position, contracts, either way. Not set: what the starting balance carries at the first mark.
    """

    id: str = "paper:1"
    balance: Decimal = Decimal(400)
    leverage: Decimal = Decimal(10)
    position_max: Decimal | None = None

    def __post_init__(self) -> None:
        _require(self.id.strip() != "", "id", "a name", repr(self.id))
        _require(self.balance > 0, "balance", "above 0", self.balance)
        _require(self.leverage >= 1, "leverage", "at least 1", self.leverage)
        _require(self.position_max is None or self.position_max >= 0, "position_max", "at least 0", self.position_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationSection:
    """Where margin is held.

    Parameters
    ----------
    url
        Of the reservation book: memory: or sqlite:///file.db. A password in it must be a reference ${NAME}.
    """

    url: str = field(default="memory:", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSection:
    """What a run leaves behind.

    Parameters
    ----------
    html
        The report, one self-contained file. Empty: none is written.
    record
        The run as saved arrays, from which equipoise report makes the page again. Empty: none is written.
    title
        Of the report. Empty: made from the market and the rule.
    """

    html: str = "out/report.html"
    record: str = "out/run.npz"
    title: str = ""


def _require(holds: bool, name: str, requirement: str, got: object) -> None:
    if not holds:
        raise InputError(name, None, requirement, got)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a run is told, one part per section of the file."""

    market: MarketSection = field(default_factory=MarketSection)
    venue: VenueSection = field(default_factory=VenueSection)
    account: AccountSection = field(default_factory=AccountSection)
    quoter: QuoterConfig = field(default_factory=lambda: QuoterConfig(mark_buffer_bps=40.0))
    session: SessionConfig = field(default_factory=SessionConfig)
    reservation: ReservationSection = field(default_factory=ReservationSection)
    report: ReportSection = field(default_factory=ReportSection)

    def replay(self) -> ReplayConfig:
        """The same as the driver of a run takes it: what is said once goes to every place where it is used."""
        from equipoise.replay import ReplayConfig

        session = replace(
            self.session,
            account=self.account.id,
            leverage=self.account.leverage,
            position_max=self.account.position_max,
            mark_buffer_bps=self.quoter.mark_buffer_bps,
            maker_fee_bps=float(self.venue.maker_fee_bps),
        )
        return ReplayConfig(
            rule=self.venue.rule,
            balance=self.account.balance,
            quoter=self.quoter,
            session=session,
            notional_min=self.market.notional_min,
            maker_fee_bps=self.venue.maker_fee_bps,
            taker_fee_bps=self.venue.taker_fee_bps,
            book=self.reservation.url,
            seed=self.market.seed,
        )

    def settings(self) -> dict[str, dict[str, str]]:
        """Section → key → value as text that may be shown: secrets and passwords hidden, "" where not set."""
        return {
            section: {name: redact(name, "" if value is None else value) for name, value in values.items()}
            for section, values in forms.settings(self, DERIVED).items()
        }


DERIVED = frozenset(
    f"session.{name}" for name in ("account", "leverage", "position_max", "mark_buffer_bps", "maker_fee_bps")
)
"""Keys of SessionConfig that other sections say."""


def load_config(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
    default: Config | None = None,
) -> Config:
    """Read a configuration.

    Parameters
    ----------
    path
        TOML file; None for the defaults.
    environ
        Environment; that of the process where None.
    options
        `section.key=value` texts, which win over everything else.
    default
        What stands where nothing is given; `Config()` where None.

    Returns
    -------
    Config
        Complete and in range: the quoter has accepted its part.

    Raises
    ------
    ConfigError
        Names the key as `section.key`, what it must be, and what was found.
    """
    environ = os.environ if environ is None else environ
    given = {} if path is None else forms.parse(forms.read_text(path), str(path))
    given |= forms.environment(environ)
    for option in options:
        name, found, value = option.partition("=")
        if not found:
            raise ConfigError("--set", None, "section.key=value", option)
        given[name.strip()] = Given(value, f"--set {name.strip()}")
    config = forms.build(default if default is not None else Config(), given, environ, DERIVED)
    _check_with_the_quoter(config)
    return config


def _check_with_the_quoter(config: Config) -> None:
    from equipoise._rust import OrderMarginRule
    from equipoise.quoter import Quoter

    for section, attempt in (
        ("quoter", lambda: Quoter(config.quoter)),
        ("venue", lambda: OrderMarginRule.venue(config.venue.rule)),
    ):
        try:
            attempt()
        except InputError as error:
            name = "rule" if section == "venue" else error.argument
            raise ConfigError(f"{section}.{name}", error.index, error.requirement, error.got) from error


def config_text() -> str:
    """The default configuration as a commented TOML text; it reads back to the defaults."""
    return forms.to_toml(Config(), head=HEAD, excluded=DERIVED)


def config_schema() -> dict[str, Any]:
    """The configuration as a JSON schema (draft 2020-12)."""
    return forms.schema(Config(), title="Equipoise configuration", excluded=DERIVED)
