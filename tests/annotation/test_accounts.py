"""Passwords: made once, private, never printed."""

import stat

from annotation.accounts import ADMIN, account_file, credentials


def test_passwords_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    account = credentials(tmp_path, ADMIN)
    assert credentials(tmp_path, ADMIN) == account
    assert stat.S_IMODE(account_file(tmp_path, ADMIN).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "accounts").stat().st_mode) == 0o700
    assert len(account.password) >= 20


def test_two_accounts_share_no_password(tmp_path):
    assert credentials(tmp_path, "a@localhost").password != credentials(tmp_path, "b@localhost").password


def test_a_printed_account_shows_no_secret(tmp_path):
    account = credentials(tmp_path, ADMIN)
    assert account.password not in repr(account)
