from prompt_processing.telemetry.credentials import CredentialMask, secrets_in


def test_secrets_are_known_by_the_names_of_their_variables():
    environment = {
        "AWS_SECRET_ACCESS_KEY": "s3-secret",
        "PGPASSWORD": "pg-secret",
        "SOME_TOKEN": "a-token",
        "APDB": "postgresql://user:p%40ssword@host/db",
        "PASSWORD_FILE": "/run/secrets/password",
        "USE_TOKEN": "1",
        "HOME": "/home/user",
    }
    assert secrets_in(environment) == {"s3-secret", "pg-secret", "a-token", "p%40ssword"}


def test_a_password_of_an_url_is_masked_as_it_is_written_and_as_it_is_meant():
    mask = CredentialMask(environment={"APDB": "postgresql://user:p%40ssword@host/db"})
    assert mask.text("p%40ssword is p@ssword") == "******** is ********"


def test_a_password_of_an_url_that_nobody_knew_is_masked():
    assert CredentialMask(environment={}).text("kafka://u:hidden@h") == "kafka://u:********@h"


def test_texts_are_masked_wherever_they_are_and_the_rest_is_kept():
    mask = CredentialMask(["hush"], {})
    value = {"a": [1, "hush", {"b": ("x hush",)}], "n": None, "t": True, "e": ValueError("hush")}
    assert mask.value(value) == {
        "a": [1, "********", {"b": ["x ********"]}],
        "n": None,
        "t": True,
        "e": "********",
    }


def test_a_secret_that_holds_another_is_masked_whole():
    assert CredentialMask(["abcdef", "abcdefgh"], {}).text("abcdefgh") == "********"
