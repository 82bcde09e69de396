"""The JSON Schema accepts what the parser accepts, and refuses what it refuses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tests.core.test_manifest import doc
from whiz.core.errors import ManifestError
from whiz.core.keys import NODE, schema
from whiz.core.manifest import Identity, build

GOOD: list[Any] = [
    {"version": 1, "programs": {"a": {"run": "/a"}}},
    {"programs": {"a": {"run": ["/a", "b"], "want": "done", "after": ["b"]}, "b": {"run": "/b", "after": []}}},
    {"programs": {"a": {"run": "/a", "stop": {"grace": "1.5s"}, "limits": {"memory": "64MB", "core": 0}}}},
    {"programs": {"a": {"run": "/a", "limits": {"cpu": "150%"}}}},
    {"programs": {"a": {"run": "/a", "restart": {"on": "never", "success_codes": [1, 2]}, "log": {"to": "null"}}}},
    {"programs": {"a": {"run": "/a", "env": {"A": 1, "B": True, "C": "c"}, "umask": "022", "nice": -5}}},
    {
        "programs": {
            "a": {"run": "/a", "ready": {"port": 80, "within": "1m"}, "alive": {"http": "http://x/", "status": 204}}
        }
    },
    {"programs": {"a": {"run": "/a", "ready": {"fd": 3}, "alive": {"notify": True, "failures": 2}}}},
    {"hitlist": ["x"], "include": "d/*.yaml", "defaults": {"user": "pi"}},
]
WRONG: list[Any] = [
    {"programs": {"a": {}}},
    {"programs": {"a b": {"run": "/a"}}},
    {"programs": {"a": {"run": "/a", "wnat": "up"}}},
    {"programs": {"a": {"run": "/a", "want": "dwon"}}},
    {"programs": {"a": {"run": "/a", "cwd": "~/tmp"}}},
    {"programs": {"a": {"run": "/a", "ready": {}}}},
    {"programs": {"a": {"run": "/a", "ready": {"port": 80, "file": "/x"}}}},
    {"programs": {"a": {"run": "/a", "alive": {"every": "5s"}}}},
    {"programs": {"a": {"run": "/a", "alive": {"log": "up"}}}},
    {"programs": {"a": {"run": "/a", "stop": {"grace": "soon"}}}},
    {"programs": {"a": {"run": "/a", "limits": {"files": "many"}}}},
    {"version": 3},
    {"zzz": 1},
]


@pytest.mark.parametrize("value", GOOD)
def test_good(value: Any) -> None:
    jsonschema.validate(value, schema())
    assert build([doc(value)], Identity()) is not None


@pytest.mark.parametrize("value", WRONG)
def test_wrong(value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schema())
    with pytest.raises(ManifestError):
        build([doc(value)], Identity())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator.check_schema(NODE.schema())
