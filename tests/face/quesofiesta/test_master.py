"""The master's commands as people and scripts meet them."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.face.quesofiesta.shell import QUESOFIESTA, Shell
from whiz.core.release import trust
from whiz.face.quesofiesta import helptext
from whiz.world.release.repository import Repository

if TYPE_CHECKING:
    import pytest


def test_init_prints_what_a_node_needs(shell: Shell) -> None:
    import yaml

    said = yaml.safe_load(shell.run("init", "repo", "--app", "camera"))
    root = Repository("repo").root()
    assert said == {
        "app": "camera",
        "channel": "stable",
        "repo": root.repo,
        "keys": list(root.of("root")),
        "mirrors": [f"http://{os.uname().nodename}:8088", f"file://{shell.place}/repo"],
    }
    assert root.of("release") == root.of("channel") != root.of("root")
    folder = shell.place / "home/.config/whiz/keys" / root.repo
    assert sorted(os.listdir(folder)) == ["publish", "publish.pub", "root", "root.pub"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {(folder / n).stat().st_mode & 0o777 for n in ("root", "publish")} == {0o600}
    assert yaml.safe_load(shell.run("init", "repo", "--app", "camera")) == said, "asked again it says it again"
    assert "is the repository of 'camera' already, not of 'other'" in shell.run(
        "init", "repo", "--app", "other", code=2
    )
    assert shell.json("init", "repo", "--app", "camera")["repo"] == root.repo


def test_init_never_puts_keys_where_they_are_handed_out(shell: Shell) -> None:
    said = shell.run("init", "repo", "--app", "camera", "--keys", "repo/keys", code=2)
    assert "repo/keys lies inside the repository, which is handed out" in said
    assert not (shell.place / "repo").exists()


def test_init_refuses_a_directory_that_holds_something(shell: Shell) -> None:
    shell.put("a", "a")
    assert "is not empty\nhint: a repository gets a directory of its own" in shell.run(
        "init", "src", "--app", "camera", code=2
    )
    assert not (shell.place / "home/.config").exists(), "no keys were made for it"
    assert "'a b' cannot name an app" in shell.run("init", "repo", "--app", "a b", code=2)


def test_init_with_keys_that_are_there(shell: Shell) -> None:
    for name in ("mine", "boss"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True)
    shell.run("init", "repo", "--app", "camera", "--root-key", "boss.pub", "--key", "mine.pub")
    root = Repository("repo").root()
    assert [" ".join(Path(f"{n}.pub").read_text().split()[:2]) for n in ("boss", "mine", "mine")] == [
        root.of(role)[0] for role in trust.ROLES
    ]
    shell.put("a", "a")
    shell.run("publish", "src", "--repo", "repo")


def test_build_writes_nothing_and_says_the_id_that_publish_gives(shell: Shell) -> None:
    shell.put("run.py", "print(1)")
    assert "release of no repository: --repo says for which" in shell.run("build", "src")
    shell.run("init", "repo", "--app", "camera")
    before = sorted(p for p in shell.place.rglob("*"))
    built = shell.json("build", "src", "--repo", "repo", "--health", "bin/check --quick")
    assert sorted(p for p in shell.place.rglob("*")) == before
    assert built | {"id": ""} == {
        "id": "", "files": 1, "size": 8, "new": {"objects": 1, "bytes": 8}, "left_out": [], "warnings": [],
    }  # fmt: skip
    done = shell.json("publish", "src", "--repo", "repo", "--health", "bin/check --quick")
    assert done["id"] == built["id"]
    assert Repository("repo").release(done["id"]).health == ("bin/check", "--quick")
    assert shell.json("build", "src", "--repo", "repo")["id"] != done["id"], "what is asked afterwards is part of it"
    assert "1 file, 8 B; 0 of them new, 0 B" in shell.run("build", "src", "--repo", "repo")


def test_publish_and_what_is_told_of_it(shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    said = shell.run("history", "--repo", "repo")
    assert said.startswith("NUMBER ")
    assert [re.split(r"\s{2,}", line)[2] for line in said.splitlines()] == ["LABEL", "v1", "v2"]
    assert said.splitlines()[-1].endswith("the 2.")
    held = shell.json("history", "--repo", "repo", "-n", "1")["history"]
    assert [(h["label"], h["note"], h["pins"]) for h in held] == [("v2", "the 2.", {})]
    assert "published v3" in shell.run("publish", "src", "--repo", "repo", "--channel", "beta", "--label", "v3")


def test_the_repository_is_found_from_inside_of_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.released("print(1)")
    assert shell.run("history", code=2).startswith(
        "quesofiesta: no repository is here or above\nhint: --repo DIR, or quesofiesta init DIR --app NAME"
    )
    monkeypatch.chdir(shell.place / "repo" / "o")
    assert "v1" in shell.run("history")


def test_doubts_are_told_and_secrets_refused(shell: Shell) -> None:
    shell.run("init", "repo", "--app", "camera")
    shell.put("run.py", "x")
    shell.put(".git/config", "x")
    shell.put("big", "x" * 2000)
    said = shell.run("build", "src", "--large", "1kB")
    assert "quesofiesta: left out: .git\n" in said
    assert "quesofiesta: 'big' is large: 2.0 kB\n" in said
    assert "large" not in shell.run("build", "src", "--large", "1kB", "--allow", "big")
    shell.put(".env", "TOKEN=1")
    said = shell.run("publish", "src", "--repo", "repo", code=1)
    assert "'.env' looks like an environment file" in said
    assert Repository("repo").channels() == []
    shell.run("publish", "src", "--repo", "repo", "--exclude", ".env")
    assert "'lots' is not a size" in shell.run("build", "src", "--large", "lots", code=2)


def test_an_empty_tree_is_not_released(shell: Shell) -> None:
    assert "src is empty: a release has at least one file" in shell.run("build", "src", code=1)
    assert "nowhere is not a directory" in shell.run("build", "nowhere", code=1)


def test_diff(shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    assert re.fullmatch(
        r"~ run.py \(8 B, [0-9a-f]{8} → 8 B, [0-9a-f]{8}\)\n1 change; a node fetches 1 object, 8 B\n",
        shell.run("diff", "v1", "v2", "--repo", "repo"),
    )
    shell.put("new", "12345")
    (shell.place / "src/link").symlink_to("new")
    (shell.place / "src/hollow").mkdir()
    (shell.place / "src/run.py").chmod(0o755)
    said = shell.run("diff", "v2", "src", "--repo", "repo")
    assert "+ hollow (empty directory)" in said
    assert "+ link (symlink to new)" in said
    assert "+ new (5 B, " in said
    assert "~ run.py (8 B, " in said
    assert "→ program, 8 B" in said
    assert "- new (5 B" in shell.run("diff", "src", "v2", "--repo", "repo")
    assert "they are the same" in shell.run("diff", "v2", "v2", "--repo", "repo")
    held = shell.json("diff", "v2", "src", "--repo", "repo")
    assert held["fetch"] == {"objects": 1, "bytes": 5}
    assert [(c["path"], c["old"] and c["old"]["kind"], c["new"]["kind"]) for c in held["changes"]] == [
        ("hollow", None, "dir"), ("link", None, "link"), ("new", None, "file"), ("run.py", "file", "exec"),
    ]  # fmt: skip
    assert "no release is called 'v9'\nhint: the newest labels: v1, v2" in shell.run(
        "diff", "v1", "v9", "--repo", "repo", code=2
    )


def test_rollback_goes_back_and_not_forth_again(shell: Shell) -> None:
    shell.released("print(1)", "print(2)", "print(3)")
    assert re.match(r"stable offers v2 \([0-9a-f]{12}\) again, number \d+\n", shell.run("rollback", "--repo", "repo"))
    assert "stable offers v1 " in shell.run("rollback", "--repo", "repo"), "not the bad one, which was before it"
    assert "stable offered nothing before v1" in shell.run("rollback", "--repo", "repo", code=2)
    assert "stable offers v3 " in shell.run("rollback", "v3", "--repo", "repo")
    held = shell.json("history", "--repo", "repo")["history"]
    assert [h["label"] for h in held] == ["v1", "v2", "v3", "v2", "v1", "v3"]
    assert [h["seq"] for h in held] == sorted({h["seq"] for h in held})
    assert held[3]["note"] == "rollback from v3"


def test_pins_and_promotion(shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    assert "attic is to run v1 " in shell.run("pin", "attic", "v1", "--repo", "repo")
    assert shell.json("history", "--repo", "repo", "-n", "1")["history"][0]["pins"] == {"attic": "v1"}
    assert "pinned there: attic" in shell.run("unpin", "cellar", "--repo", "repo", code=2)
    assert "attic is to run what stable offers: v2" in shell.run("unpin", "attic", "--repo", "repo")
    assert "tried offers v2 " in shell.run("promote", "stable", "tried", "--repo", "repo")
    assert shell.json("history", "--channel", "tried", "--repo", "repo")["history"][0]["note"] == "promoted from stable"
    before = shell.json("history", "--repo", "repo")["history"][-1]
    assert "stable offers v2 " in shell.run("promote", "stable", "stable", "--repo", "repo"), "the same anew"
    assert shell.json("history", "--repo", "repo")["history"][-1]["seq"] > before["seq"]
    assert "there is no channel 'none'\nhint: channels here: stable, tried" in shell.run(
        "promote", "none", "stable", "--repo", "repo", code=2
    )


def test_verify_and_gc(shell: Shell) -> None:
    shell.released("print(1)", "print(2)")
    assert shell.run("verify", "--repo", "repo") == "2 releases, 2 objects: all is as it should be\n"
    assert "would remove 1 release, 1 object and 0 packs" in shell.run(
        "gc", "--keep", "1", "--dry-run", "--repo", "repo", code=3
    )
    assert "removed 1 release, 1 object and 0 packs" in shell.run("gc", "--keep", "1", "--repo", "repo")
    assert shell.json("gc", "--keep", "1", "--dry-run", "--repo", "repo")["objects"] == 0
    path = next(p for p in (shell.place / "repo/o").rglob("*") if p.is_file())
    path.write_bytes(b"garbage")
    assert "1 problem" in shell.run("verify", "--repo", "repo", code=1)
    assert f"{path} is damaged" in shell.json("verify", "--repo", "repo", code=1)["problems"][0]


def test_rotate(shell: Shell) -> None:
    shell.released("print(1)")
    assert "key set 2 is in force" in shell.run("rotate", "--new-key", "--repo", "repo")
    assert "key set 3 is in force" in shell.run("rotate", "--new-root-key", "--repo", "repo")
    assert "these are the keys of the present set" in shell.run("rotate", "--repo", "repo", code=2)
    assert "all is as it should be" in shell.run("verify", "--repo", "repo")
    shell.run("publish", "src", "--repo", "repo")
    assert shell.run("init", "repo", "--app", "camera").count("ssh-ed25519") == 1


def test_bundle(shell: Shell) -> None:
    shell.released("print(1)")
    said = shell.run("bundle", "app.whiz", "--repo", "repo")
    assert f"bundle://{shell.place}/app.whiz" in said
    assert shell.json("bundle", "app.whiz", "--repo", "repo")["size"] == (shell.place / "app.whiz").stat().st_size
    assert "No such file or directory" in shell.run("bundle", "none/app.whiz", "--repo", "repo", code=1)


def test_serve_until_interrupted(shell: Shell) -> None:
    shell.released("print(1)")
    words = [str(QUESOFIESTA), "serve", "--repo", "repo", "--port", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        told = re.match(r"serving .*/repo at http://127\.0\.0\.1:(\d+); Ctrl-C ends it\n", running.stdout.readline())
        assert told
        with closing(http.client.HTTPConnection("127.0.0.1", int(told[1]), timeout=30)) as c:
            c.request("GET", "/channel/stable")
            assert c.getresponse().read() == (shell.place / "repo/channel/stable").read_bytes()
        taken = shell.run("serve", "--repo", "repo", "--port", told[1], "--bind", "127.0.0.1", code=2)
        assert f"cannot listen at 127.0.0.1:{told[1]}: Address already in use" in taken
        running.send_signal(signal.SIGINT)
        assert running.wait() == 0
    assert "there is no such port" in shell.run("serve", "--repo", "repo", "--port", "99999", code=2)


def test_what_the_disk_refuses_is_named(shell: Shell) -> None:
    shell.released("print(1)")
    (shell.place / "repo/.new").write_text("in the way")
    said = shell.run("publish", "src", "--repo", "repo", code=1)
    assert said == f"quesofiesta: {shell.place}/repo/.new: Not a directory\n"


def test_another_one_at_work(shell: Shell) -> None:
    shell.released("print(1)")
    with Repository("repo").lock():
        assert "another quesofiesta is at work in" in shell.run("publish", "src", "--repo", "repo", code=75)
        assert shell.json("publish", "src", "--repo", "repo", code=75)["exit"] == 75


def test_every_command_has_help_and_a_function() -> None:
    from importlib import import_module

    for name in helptext.MASTER:
        done = subprocess.run([QUESOFIESTA, name, "--help"], capture_output=True, text=True, check=True)
        assert "exit status:" in done.stdout
        assert callable(getattr(import_module("whiz.face.quesofiesta.master"), name))
    done = subprocess.run([QUESOFIESTA], capture_output=True, text=True, check=False)
    assert (done.returncode, "hint: quesofiesta --help" in done.stderr) == (2, True)


def test_the_docs_say_how_to_check_without_quesofiesta(shell: Shell) -> None:
    shell.released("print(1)")
    text = (Path(__file__).parents[3] / "docs" / "releases.md").read_text()
    script = text.partition("```sh\n")[2].partition("```")[0]
    assert "ssh-keygen -Y verify" in script

    def check() -> int:
        return subprocess.run(["sh", "-e", "-c", script], cwd="repo", capture_output=True, check=False).returncode

    assert check() == 0
    path = shell.place / "repo/channel/stable"
    path.write_text(path.read_text().replace("the 1.", "the 2."))
    assert check() != 0


def test_whiz_loads_nothing_of_it() -> None:
    script = "import sys, whiz.face.cli as c; c.main(['--home', '/nonexistent', 'status']); print([m for m in sys.modules if 'release' in m or 'quesofiesta' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]"
