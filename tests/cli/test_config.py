"""Settings: who wins, what is refused, and that each error says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from holdfast.cli import config
from holdfast.cli.catalogue import CATALOGUE, read, read_bytes, read_seconds, show_bytes, show_seconds
from holdfast.cli.config import gather, parse_upstream
from holdfast.cli.errors import Misused
from holdfast.cli.main import main
from holdfast.gateway.settings import Keepalive, Limits, RetryRules, Settings, Sockets, Timeouts, Upstream

NOWHERE = {"HOME": "/nonexistent"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("10s", 10),
        ("45m", 2700),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("7d", 604800),
        ("1.5h", 5400),
    ],
)
def test_durations_are_written_as_people_do(text: str, seconds: float) -> None:
    """A bare number counts seconds."""
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 minutes ago", "-5s", "5s later", "m5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """And the error shows how one looks."""
    with pytest.raises(ValueError, match="45m"):
        read_seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("256k", 262144), ("64MB", 67108864), ("1GiB", 1 << 30), ("1.5 kb", 1536)],
)
def test_sizes_are_written_as_people_do(text: str, size: int) -> None:
    """Units are powers of 1024."""
    assert read_bytes(text) == size


def test_what_is_shown_can_be_given_back() -> None:
    """The output of --check is in the units that the flags take."""
    for seconds in (0.25, 2.0, 75.0, 600.0, 2700.0, 5400.0, 604800.0):
        assert read_seconds(show_seconds(seconds)) == seconds
    for size in (1000, 65536, 67108864, 1 << 30):
        assert read_bytes(show_bytes(size)) == size


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    """Four places, one order, and each value says where it is from."""
    file = tmp_path / "c.toml"
    file.write_text('drain = "1m"\nquiet = "2m"\norphan = "3m"\n')
    environ = NOWHERE | {"HOLDFAST_DRAIN": "10s", "HOLDFAST_QUIET": "20s"}

    values = gather("serve", {"drain": "1s"}, environ, file)

    assert values["drain"] == config.Value(1.0, "--drain")
    assert values["quiet"] == config.Value(20.0, "HOLDFAST_QUIET")
    assert values["orphan"] == config.Value(180.0, str(file))
    assert values["unheard"] == config.Value(300.0, "default")


def test_the_users_own_file_is_found(tmp_path: Path) -> None:
    """`$XDG_CONFIG_HOME/holdfast/config.toml`, without being asked for."""
    (tmp_path / "holdfast").mkdir()
    (tmp_path / "holdfast" / "config.toml").write_text('unheard = 60\nca_file = []\nhost = ["a", "b"]')

    values = gather("serve", {}, NOWHERE | {"XDG_CONFIG_HOME": str(tmp_path)}, None)

    assert values["unheard"].value == 60.0
    assert values["host"].value == ("a", "b")


def test_retries_reach_the_gateway(tmp_path: Path) -> None:
    """How many, how large a share of all requests, and what becomes of a request that is not worth one."""
    file = tmp_path / "c.toml"
    file.write_text("retry-share = 0.25")
    environ = NOWHERE | {"HOLDFAST_RETRIES": "0", "HOLDFAST_ON_DOOMED": "compact"}
    settings = config.common_settings(
        gather("run", {}, environ, file), Upstream.parse("https://api.example"), environ
    )

    assert settings.retries == RetryRules(retries=0, retry_share=0.25)
    assert settings.on_doomed == "compact"


@pytest.mark.parametrize("text", ["", "10%", "1.5", "-0.1", "nan", "inf", "some"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """And the error shows how one looks."""
    [option] = [option for option in CATALOGUE if option.name == "retry-share"]
    with pytest.raises(ValueError, match=r"such as 0\.1"):
        read(option, text)


def test_what_is_asked_of_tcp_reaches_the_gateway(tmp_path: Path) -> None:
    """From a flag, a variable and the file; `off` is a value too."""
    file = tmp_path / "c.toml"
    file.write_text('ip = 4\nconnect-timeout = "5s"\n')
    environ = NOWHERE | {"HOLDFAST_TCP_USER_TIMEOUT": "2m", "HOLDFAST_OUTAGE_PATIENCE": "0"}

    def settings(*, probes: str) -> Settings:
        values = gather("run", {"tcp_keepalive": probes}, environ, file)
        return config.common_settings(values, Upstream.parse("https://api.example"), environ)

    found = settings(probes="10/5/3")
    assert found.sockets == Sockets(Keepalive(10, 5, 3), user_timeout_s=120.0, ip="4")
    assert (found.timeouts.connect_s, found.timeouts.outage_s) == (5.0, 0.0)
    assert settings(probes="off").sockets.keepalive is None


def test_the_user_timeout_is_as_long_as_the_keepalive_takes() -> None:
    """Unless it was set: on Linux it would otherwise silently decide how long the probes go on."""
    assert Sockets().upstream_user_timeout_s == 90.0
    assert Sockets(Keepalive(10, 5, 3)).upstream_user_timeout_s == 25.0
    assert Sockets(Keepalive(10, 5, 3), user_timeout_s=60.0).upstream_user_timeout_s == 60.0
    assert Sockets(keepalive=None).upstream_user_timeout_s == 90.0


@pytest.mark.parametrize(
    "text", ["", "30", "30/15", "30/15/4/1", "30/15/x", "0/15/4", "30/0/4", "30/15/0", "40000/1/1", "1/1/128"]
)
def test_what_is_no_keepalive_is_refused(text: str) -> None:
    """The error shows how one looks, or the system's own bounds."""
    [option] = [option for option in CATALOGUE if option.name == "tcp-keepalive"]
    with pytest.raises(ValueError, match=r"30/15/4, or off|from 1 to 127"):
        read(option, text)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'[serve]\ndrain = "7m"\n', "settings stand in no section. Leave \\[serve] out"),
        (b"# caf\xe9\n", "is not UTF-8: invalid continuation byte. Save it as UTF-8"),
    ],
)
def test_a_file_that_is_nearly_right_is_told_what_is_not(
    content: bytes, complaint: str, tmp_path: Path
) -> None:
    """Not that its permissions ought to be looked at."""
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(Misused, match=complaint):
        gather("serve", {}, NOWHERE, tmp_path / "c.toml")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfdrain = "7m"\r\n')

    assert gather("serve", {}, NOWHERE, tmp_path / "c.toml")["drain"].value == 420.0


def test_a_base_url_that_holds_the_requests_path_is_refused() -> None:
    """Clients put it behind by themselves: every request would be answered 404."""
    with pytest.raises(Misused, match=r"Leave it out: https://api\.example/llm$"):
        parse_upstream("https://api.example/llm/v1/messages/", "--upstream", allow_plain=False)


@pytest.mark.parametrize("path", ["a b", "é"])
def test_a_base_url_that_is_no_url_is_refused(path: str) -> None:
    """In a request's first line a blank would end the path."""
    with pytest.raises(Misused, match="must be percent-encoded"):
        parse_upstream(f"https://api.example/{path}", "--upstream", allow_plain=False)


def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    """A setting that is silently not in force would be worse."""
    file = tmp_path / "c.toml"
    file.write_text('upstraem = "https://x.example"')

    with pytest.raises(Misused, match="Did you mean upstream"):
        gather("serve", {}, NOWHERE, file)


def test_an_unknown_variable_is_an_error_with_a_suggestion() -> None:
    """The same for HOLDFAST_ names; other variables are nobody's business."""
    with pytest.raises(Misused, match="Did you mean HOLDFAST_UPSTREAM"):
        gather("serve", {}, NOWHERE | {"HOLDFAST_UPSTREEM": "x", "OTHER": "y"}, None)


def test_settings_of_the_other_command_are_known_and_left_alone() -> None:
    """`run` and `serve` share variables and file: a `listen` for serve does not break run."""
    values = gather("run", {}, NOWHERE | {"HOLDFAST_LISTEN": "127.0.0.1:1"}, None)

    assert "listen" not in values


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("drain = true", "takes a value"),
        ("drain = [1]", "cannot be a list"),
        ('drain = "soon"', "is not a duration"),
        ('record = "some"', "none, lost, all"),
        ('listen = "8484"', "HOST:PORT"),
        ("tcp-keepalive = false", "30/15/4"),
        ("tcp-keepalive = 30", "IDLE/INTERVAL/COUNT"),
        ("ip = 5", "auto, 4, 6"),
        ("drain = ", "is not TOML"),
        ('keep-turns = "1d"\nkeep_turns = "2d"', "'keep-turns' and 'keep_turns' are the same setting"),
        ("keepalive = 0", "the least is 100ms"),
        ('keepalive = "1ms"', "the least is 100ms"),
        ('tcp-user-timeout = "999d"', "the most is 24d"),
        ("proxy = 'foo'", "is no proxy's address"),
        ("host = 'http://x'", "is not a host name"),
        ("host = ['a.example', 'a b']", "is not a host name"),
        ("host = 'gateway.example:8811'", "without scheme, port and path"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(tmp_path: Path, toml: str, complaint: str) -> None:
    """The error names the file."""
    file = tmp_path / "c.toml"
    file.write_text(toml)

    with pytest.raises(Misused, match=complaint) as raised:
        gather("serve", {}, NOWHERE, file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("host", ["gateway.example", "gateway", "10.0.0.1", "fd00::1", "a.example,b.example"])
def test_names_that_a_host_header_can_have_are_taken(host: str) -> None:
    """Addresses too; several with commas between them."""
    assert gather("serve", {"host": (host,)}, NOWHERE, None)["host"].value == tuple(host.split(","))


def test_a_port_has_sixteen_bits() -> None:
    """What is larger would only fail when it is to be listened on."""
    assert gather("run", {"port": "65535"}, NOWHERE, None)["port"].value == 65535
    with pytest.raises(Misused, match=r"--port \(port\): '70000' is out of bounds; the most is 65535"):
        gather("run", {"port": "70000"}, NOWHERE, None)


@pytest.mark.parametrize("command", [["serve"], ["run"]])
@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"HOLDFAST_PROXY": "socks5://x"}, "(scheme 'socks5'); give http://host:port"),
        ({"HOLDFAST_PROXY": "https://x"}, "(scheme 'https'); give http://host:port"),
        ({"HTTPS_PROXY": "socks5://x"}, "(scheme 'socks5'); give http://host:port"),
        (
            {"HTTPS_PROXY": "me:12@proxy.example"},
            "HTTPS_PROXY names a proxy without its port; write it as http",
        ),
        ({"HOLDFAST_CA_FILE": "/etc/hostname"}, "the CA file /etc/hostname could not be read"),
        ({"SSL_CERT_FILE": "/etc/hostname"}, "the CA file /etc/hostname could not be read"),
        ({"HOLDFAST_CLIENT_CERT": "/etc/hostname"}, "the client certificate /etc/hostname with its key"),
    ],
)
def test_what_no_connection_could_be_made_with_is_refused_by_check(
    command: list[str], said: dict[str, str], complaint: str
) -> None:
    """As a wrong setting, in the words of the gateway, before it is started."""
    more = ["--", "true"] if command == ["run"] else []
    environ = OTHERS | NOWHERE | said

    ended = CliRunner(env=environ).invoke(
        main, [*command, "--upstream", "https://a.example", "--check", *more]
    )

    assert ended.exit_code == 2
    assert complaint in ended.output


def test_a_proxy_without_a_port_is_no_obstacle_where_another_is_chosen(tmp_path: Path) -> None:
    """Programs disagree which port is meant; a flag ends the question."""
    environ = OTHERS | NOWHERE | {"HTTPS_PROXY": "proxy.example"}
    flags = ["serve", "--upstream", "https://a.example", "--check", "--proxy"]

    assert CliRunner(env=environ).invoke(main, [*flags, "none"]).exit_code == 0
    assert CliRunner(env=environ).invoke(main, [*flags, "http://proxy.example"]).exit_code == 0


def test_certificates_are_not_looked_at_where_upstream_speaks_no_tls() -> None:
    """They are for other upstreams, and nothing fails for them."""
    environ = OTHERS | NOWHERE | {"SSL_CERT_FILE": "/etc/hostname"}

    assert (
        CliRunner(env=environ)
        .invoke(main, ["serve", "--upstream", "http://127.0.0.1:9", "--check"])
        .exit_code
        == 0
    )


@pytest.mark.parametrize(
    ("environ", "origin"),
    [
        ({"HOLDFAST_STATE_DIR": "/nonexistent/s"}, "HOLDFAST_STATE_DIR"),
        ({"XDG_STATE_HOME": "/nonexistent/s"}, "XDG_STATE_HOME"),
        ({}, "default"),
    ],
)
def test_check_says_what_chose_the_state_directory(environ: dict[str, str], origin: str) -> None:
    """One origin, as for every setting."""
    unset = OTHERS | dict.fromkeys(("HOLDFAST_STATE_DIR", "XDG_STATE_HOME"))

    printed = CliRunner(env=unset | NOWHERE | environ).invoke(main, ["serve", "--check"]).output

    assert told(printed)["(state directory)"][1] == origin


def test_a_missing_file_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    """Only the default file may be absent."""
    with pytest.raises(Misused, match="no settings file"):
        gather("serve", {}, NOWHERE, tmp_path / "absent.toml")


def test_plain_http_beyond_this_machine_needs_a_flag() -> None:
    """Keys would travel readable."""
    with pytest.raises(Misused, match="--allow-plain-upstream"):
        config.parse_upstream("http://gateway.example", "--upstream", allow_plain=False)
    assert config.parse_upstream("http://gateway.example", "--upstream", allow_plain=True).port == 80
    assert config.parse_upstream("http://127.0.0.1:9", "--upstream", allow_plain=False).port == 9
    assert config.parse_upstream("http://[::1]:9", "--upstream", allow_plain=False).host == "::1"


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "127.evil"])
def test_a_name_that_only_looks_like_loopback_is_none(host: str) -> None:
    """The check is on the whole name."""
    assert not config.is_loopback(host)


def test_every_field_of_the_gateway_can_be_set() -> None:
    """No timeout and no limit is out of a user's reach (two that were measured are no matter of taste)."""
    settable = {option.field for option in CATALOGUE}

    assert set(Timeouts.__dataclass_fields__) - settable == {"twin_grace_s", "limit_tolerance_s"}
    assert set(Limits.__dataclass_fields__) <= settable
    assert set(Sockets.__dataclass_fields__) <= settable


def test_defaults_are_the_gateways_own() -> None:
    """One source of truth: what the gateway does without settings is what --check prints."""
    values = gather("serve", {}, NOWHERE, None)
    upstream = Upstream.parse("https://api.example")

    settings = config.common_settings(values, upstream, NOWHERE)

    assert settings.timeouts == Settings(upstream).timeouts
    assert settings.limits == Settings(upstream).limits
    assert settings.sockets == Settings(upstream).sockets


def test_proxy_comes_from_the_environment_unless_said_otherwise() -> None:
    """`--proxy none` is stronger than HTTPS_PROXY."""
    upstream = Upstream.parse("https://api.example")
    environ = NOWHERE | {"HTTPS_PROXY": "http://user:pw@proxy.example:3128"}

    assert config.proxy_from(gather("serve", {}, NOWHERE, None), upstream, environ) == environ["HTTPS_PROXY"]
    assert config.proxy_from(gather("serve", {"proxy": "none"}, NOWHERE, None), upstream, environ) is None


def test_check_masks_secrets() -> None:
    """What --check prints can be pasted into a bug report."""
    environ = NOWHERE | {
        "HOLDFAST_PROXY": "http://user:hunter2@proxy.example",
        "HOLDFAST_TOKEN": "t0psecret" * 4,
    }

    printed = CliRunner(env=environ).invoke(main, ["serve", "--check"])

    assert printed.exit_code == 0
    assert "HOLDFAST_PROXY" in printed.output
    assert "hunter2" not in printed.output
    assert "t0psecret" not in printed.output


def told(printed: str) -> dict[str, tuple[str, str]]:
    """What --check printed: value and origin by name."""
    rows = [re.split(r" {2,}", line) for line in printed.splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


OTHERS = dict.fromkeys(("https_proxy", "no_proxy", "NO_PROXY", "SSL_CERT_FILE"))
"Unset, whatever this machine has."


@pytest.mark.parametrize("command", [["serve", "--check"], ["run", "--check", "--", "true"]])
def test_check_shows_what_the_environment_adds(tmp_path: Path, command: list[str]) -> None:
    """A proxy or a CA that is in force is not shown as `-`; it has the variable as its origin."""
    ca, issued = tmp_path / "ca.pem", trustme.CA()
    issued.issue_cert("me.example").private_key_and_cert_chain_pem.write_to_path(str(ca))
    environ = NOWHERE | {
        "HTTPS_PROXY": "http://user:hunter2@proxy.example:3128",
        "NODE_EXTRA_CA_CERTS": str(ca),
        "CLAUDE_CODE_CLIENT_CERT": str(ca),
    }

    printed = CliRunner(env=OTHERS | environ).invoke(main, command).output

    assert told(printed)["proxy"] == ("http://***@proxy.example:3128", "HTTPS_PROXY")
    assert told(printed)["ca-file"] == (str(ca), "NODE_EXTRA_CA_CERTS")
    assert told(printed)["client-cert"] == (str(ca), "CLAUDE_CODE_CLIENT_CERT")
    assert told(printed)["client-key"] == ("-", "default")
    assert "hunter2" not in printed


def test_check_shows_flags_where_they_win(tmp_path: Path) -> None:
    """A proxy of a flag takes the variable's place; certificates are added to each other."""
    for name in ("one.pem", "two.pem"):
        (tmp_path / name).write_text("x")
    flags = {"proxy": "none", "ca_file": (str(tmp_path / "one.pem"),)}
    environ = NOWHERE | {"HTTPS_PROXY": "http://proxy.example", "SSL_CERT_FILE": str(tmp_path / "two.pem")}

    shown = config.in_force(
        gather("serve", flags, NOWHERE, None), Upstream.parse("https://api.example"), environ
    )

    assert shown["proxy"] == config.Value("none", "--proxy")
    assert shown["ca-file"].value == (tmp_path / "one.pem", tmp_path / "two.pem")
    assert shown["ca-file"].origin == "--ca-file, SSL_CERT_FILE"


def test_check_says_that_a_proxy_is_not_used_for_this_machine() -> None:
    """It would be believed to be in force otherwise."""
    values = gather("serve", {"proxy": "http://proxy.example"}, NOWHERE, None)

    local = config.in_force(values, Upstream.parse("http://127.0.0.1:9"), NOWHERE)["proxy"]
    distant = config.in_force(values, Upstream.parse("https://api.example"), NOWHERE)["proxy"]

    assert local == config.Value("none", "--proxy is not used: upstream is this machine")
    assert distant == config.Value("http://proxy.example", "--proxy")


def test_certificates_of_the_environment_are_trusted_by_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway of `run` lives in another directory, where a relative path would mean another file."""
    (tmp_path / "ca.pem").write_text("x")
    monkeypatch.chdir(tmp_path)

    tls = config.tls_from(gather("serve", {}, NOWHERE, None), {"NODE_EXTRA_CA_CERTS": "ca.pem"})

    assert tls.ca_files == (tmp_path / "ca.pem",)


def test_a_certificate_that_is_not_there_is_an_error() -> None:
    """Named with the place that names it."""
    with pytest.raises(Misused, match="--ca-file"):
        config.tls_from(gather("serve", {"ca_file": ("/nonexistent.pem",)}, NOWHERE, None), {})
