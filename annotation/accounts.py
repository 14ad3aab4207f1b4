"""Accounts of the embedded server: made without a click, each with its own password and token, kept in 0600 files.

    credentials(home, email)   the account's file, <home>/accounts/<email>.json, made with a random password if missing
    sign_in(url, account)      session login -> the account's API token
    join(url, inviter, account)  invitation link + sign-up form -> a new member, then its token

The passwords come from `secrets`, never appear on a command line and are left out of every repr. The first account
(`ADMIN`) is created by the server itself from its environment. Label Studio Community has no roles: each of these
accounts can do everything the first one can.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import httpx

ADMIN = "me@localhost"  # the person at this machine
SIMULATED_PREFIX = "simulated-"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Account:
    """Who answers, and with which secrets; `token` is empty until the account has signed in once."""

    email: str
    password: str = field(repr=False)
    token: str = field(default="", repr=False)


def account_file(home: Path, email: str) -> Path:
    return home / "accounts" / f"{email}.json"


def credentials(home: Path, email: str) -> Account:
    """The account as recorded below the private folder `home`; a new one gets a random password."""
    path = account_file(home, email)
    if path.exists():
        return Account(**json.loads(path.read_text()))
    account = Account(email=email, password=secrets.token_urlsafe(18))
    _record(home, account)
    return account


def signed_in(home: Path, url: str, email: str, inviter: Account | None = None) -> Account:
    """The account with its API token; a new member joins by the inviter's link first.

    Raises:
        RuntimeError: the server refuses the account.
    """
    account = credentials(home, email)
    if account.token:
        return account
    token = sign_in(url, account)
    if not token and inviter is not None:
        join(url, inviter, account)
        token = sign_in(url, account)
    if not token:
        raise RuntimeError(
            f"Label Studio at {url} refuses the login of {email}: {account_file(home, email)} is not the file that "
            "account was made from. Stop the server and remove its private folder to start afresh; "
            "collected answers are kept."
        )
    account = replace(account, token=token)
    _record(home, account)
    return account


def sign_in(url: str, account: Account) -> str:
    """Log in as a browser does and read the account's API token. Empty: the server does not know email or password."""
    with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT_S) as http:
        http.get("/user/login").raise_for_status()
        answer = http.post(
            "/user/login",
            data={
                "email": account.email,
                "password": account.password,
                "csrfmiddlewaretoken": http.cookies["csrftoken"],
            },
            headers={"Referer": f"{url}/user/login"},
        )
        if answer.status_code != 302:
            return ""
        return http.get("/api/current-user/token").raise_for_status().json()["token"]


def join(url: str, inviter: Account, account: Account) -> None:
    """Sign up through an invitation, the only way in: open sign-up is switched off.

    Raises:
        RuntimeError: the form was refused.
    """
    with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT_S) as http:
        invitation = http.get("/api/invite", headers={"Authorization": f"Token {inviter.token}"}).raise_for_status()
        link = invitation.json()["invite_url"]
        http.get(link).raise_for_status()
        answer = http.post(
            link,
            data={
                "email": account.email,
                "password": account.password,
                "csrfmiddlewaretoken": http.cookies["csrftoken"],
            },
            headers={"Referer": f"{url}{link}"},
        )
    if answer.status_code != 302:
        raise RuntimeError(f"Label Studio refused to sign up {account.email} (HTTP {answer.status_code})")


def _record(home: Path, account: Account) -> None:
    path = account_file(home, account.email)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_suffix(".aside")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(asdict(account), stream)
    aside.replace(path)
