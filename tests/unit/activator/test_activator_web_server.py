"""Gunicorn's own reading of the command line."""

import sys

from prompt_processing.activator import web_server


def test_gunicorn_reads_its_options_again_and_leaves_the_command_line_alone(tmp_path, monkeypatch):
    configuration = tmp_path / "conf.py"
    configuration.write_text("workers = 3\n")
    typed = ["/opt/bin/prompt", "worker", "http", "--workers", "5"]
    monkeypatch.setattr("sys.argv", typed)
    started = []
    monkeypatch.setattr(web_server._Gunicorn, "run", lambda application: started.append(application))
    web_server.run_web_worker(["-c", str(configuration), "--bind", "127.0.0.1:9", "module:app"])
    (application,) = started
    # As upon SIGHUP; upon SIGUSR2 it starts what was typed.
    configuration.write_text("workers = 14\n")
    application.do_load_config()
    assert application.cfg.workers == 14
    assert application.cfg.bind == ["127.0.0.1:9"]
    assert application.app_uri == "module:app"
    assert sys.argv is typed
    assert typed == ["/opt/bin/prompt", "worker", "http", "--workers", "5"]
