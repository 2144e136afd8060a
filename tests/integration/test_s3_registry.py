"""The registry in a bucket where the store, the network or another writer does something wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TypeAlias

import pytest

from coppice import artifact, errors, settings
from coppice.registry import cache, objects, open_registry
from coppice.registry import s3 as bucketed
from tests.support import artifacts, house, programs, s3

pytestmark = s3.needs_server

Pack: TypeAlias = Callable[..., Path]
UPLOADER = house.ROOT / "tests" / "support" / "s3_uploader.py"


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def place(s3_endpoint: str) -> s3.Place:
    return s3.place(s3_endpoint)


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[s3.Proxy]:
    with s3.Proxy(s3_endpoint) as found:
        yield found


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    def build(accepted: float = 0.95) -> Path:
        folder = tmp_path / f"packed-{accepted}"
        artifacts.linear_classifier(folder, accepted=accepted)
        return folder

    return build


def version_key(tag: str, file: str) -> str:
    return f"tiny/files/{tag.partition(':')[2]}/{file}"


def manifest_key(tag: str) -> str:
    return f"tiny/manifests/{tag.partition(':')[2]}.json"


class TestUploads:
    def test_a_version_appears_with_its_manifest_and_not_before(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        proxy.faults = [s3.Fault("PUT", ".json", "503", times=99)]

        with pytest.raises(errors.RegistryProblem, match=r"5 attempts .*HTTP 503"):
            place.by(proxy.endpoint).registry(tmp_path / "a").add(pack())

        assert place.registry(tmp_path / "b").tags("tiny") == []

    def test_an_upload_that_broke_off_is_gone_on_with(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        registry = place.by(proxy.endpoint).registry(tmp_path / "a")
        proxy.faults = [s3.Fault("PUT", f"/{artifact.REFERENCE}", "cut", times=5)]
        with pytest.raises(errors.RegistryProblem):
            registry.add(pack())
        before = len(place.keys())
        proxy.seen.clear()

        tag = registry.add(pack())

        uploads = [path for method, path in proxy.seen if method == "PUT"]
        assert before > 0
        assert len(uploads) == len(place.keys()) - before
        artifact.verify(registry.path(tag), tag)

    def test_a_killed_upload_leaves_nothing_that_can_be_seen(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        # The first file is asked for and never answered, so the kill comes in the middle.
        proxy.faults = [s3.Fault("PUT", f"/{artifact.MODEL}", "silent", times=99)]
        argv = [sys.executable, str(UPLOADER), proxy.endpoint, place.prefix, str(pack())]
        with subprocess.Popen(argv, cwd=house.ROOT) as uploader:
            programs.until(lambda: any(method == "PUT" for method, _ in proxy.seen))
            uploader.kill()

        registry = place.registry(tmp_path / "b")
        assert registry.tags("tiny") == []
        assert registry.add(pack()) == registry.tags("tiny")[0]

    @pytest.mark.parametrize("kind", ["500", "503", "429", "cut", "silent"])
    def test_what_fails_for_the_moment_is_sent_again(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path, kind: str
    ) -> None:
        proxy.faults = [
            s3.Fault("PUT", f"/{artifact.MODEL}", kind),
            s3.Fault("GET", f"/{artifact.MODEL}", kind),
        ]
        far = place.by(proxy.endpoint)
        store = objects.Store(far.options(timeout_seconds=0.5), find=s3.who)
        registry = bucketed.S3Registry(store, far.prefix, cache.Cache(tmp_path / "a", 10**9))

        tag = registry.add(pack())

        artifact.verify(registry.path(tag), tag)

    def test_a_manifest_whose_answer_was_lost_is_no_error(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        proxy.faults = [s3.Fault("PUT", ".json", "done and cut")]
        registry = place.by(proxy.endpoint).registry(tmp_path / "a")

        tag = registry.add(pack())

        assert registry.tags("tiny") == [tag]

    def test_two_machines_add_the_same_version_at_once(
        self, place: s3.Place, pack: Pack, tmp_path: Path
    ) -> None:
        folder = pack()
        machines = [place.registry(tmp_path / name) for name in "abcd"]

        with futures.ThreadPoolExecutor(4) as pool:
            tags = set(pool.map(lambda machine: machine.add(folder), machines))

        assert tags == {artifact.tag(folder)}
        assert machines[0].tags("tiny") == list(tags)


class TestDownloads:
    def test_half_an_answer_is_asked_for_again(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        tag = place.registry(tmp_path / "a").add(pack())
        proxy.faults = [s3.Fault("GET", f"/{artifact.MODEL}", "halved", times=2)]

        path = place.by(proxy.endpoint).registry(tmp_path / "b").path(tag)

        artifact.verify(path, tag)

    @pytest.mark.parametrize("content", [b"", b"other bytes"])
    def test_an_altered_object_is_never_handed_out(
        self, place: s3.Place, pack: Pack, tmp_path: Path, content: bytes
    ) -> None:
        tag = place.registry(tmp_path / "a").add(pack())
        place.write(version_key(tag, artifact.MODEL), content)

        with pytest.raises(errors.ArtifactCorrupt, match=r"model\.onnx was altered"):
            place.registry(tmp_path / "b").path(tag)
        assert not list((tmp_path / "b" / "models").glob("*/*"))

    def test_an_altered_manifest_is_never_handed_out(
        self, place: s3.Place, pack: Pack, tmp_path: Path
    ) -> None:
        tag = place.registry(tmp_path / "a").add(pack())
        place.write(manifest_key(tag), b"{}")

        with pytest.raises(errors.ArtifactCorrupt, match="altered in the store"):
            place.registry(tmp_path / "b").path(tag)

    def test_a_missing_object_is_named(self, place: s3.Place, pack: Pack, tmp_path: Path) -> None:
        tag = place.registry(tmp_path / "a").add(pack())
        place.remove(version_key(tag, artifact.MODEL))

        with pytest.raises(errors.ArtifactCorrupt, match=r"model\.onnx is missing in the store"):
            place.registry(tmp_path / "b").path(tag)

    @pytest.mark.parametrize("key", [version_key, lambda tag, _: manifest_key(tag)])
    def test_adding_again_mends_what_was_altered(
        self, place: s3.Place, pack: Pack, tmp_path: Path, key: Callable[[str, str], str]
    ) -> None:
        tag = place.registry(tmp_path / "a").add(pack())
        place.write(key(tag, artifact.MODEL), b"other bytes")

        place.registry(tmp_path / "a").add(pack())

        artifact.verify(place.registry(tmp_path / "b").path(tag), tag)

    def test_a_version_in_the_cache_is_found_without_the_store(
        self, place: s3.Place, pack: Pack, tmp_path: Path
    ) -> None:
        registry = place.registry(tmp_path / "a")
        tag = registry.add(pack())
        path = registry.path(tag)

        alone = place.by("http://127.0.0.1:9").registry(tmp_path / "a")

        assert alone.path(tag) == path

    def test_a_damaged_cache_mends_itself(
        self, place: s3.Place, pack: Pack, tmp_path: Path
    ) -> None:
        registry = place.registry(tmp_path / "a")
        tag = registry.add(pack())
        (registry.path(tag) / artifact.MODEL).write_bytes(b"rotten")

        artifact.verify(registry.path(tag), tag)


class TestAliases:
    def test_moves_of_two_writers_at_once_are_all_kept(
        self, place: s3.Place, pack: Pack, tmp_path: Path
    ) -> None:
        first, second = place.registry(tmp_path / "a"), place.registry(tmp_path / "b")
        tags = [first.add(pack(0.5)), first.add(pack(0.6))]

        with futures.ThreadPoolExecutor(2) as pool:
            one = pool.map(lambda tag: first.point("tiny", {"champion": tag}), tags * 8)
            two = pool.map(lambda tag: second.point("tiny", {"candidate": tag}), tags * 8)
            list(one), list(two)

        # Each went over its tags in threads of one pool, so only that both are there is certain.
        assert set(first.aliases("tiny")) == {"champion", "candidate"}
        assert first.aliases("tiny") == second.aliases("tiny")

    def test_a_move_between_reading_and_writing_is_not_lost(
        self,
        place: s3.Place,
        pack: Pack,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        registry, other = place.registry(tmp_path / "a"), place.registry(tmp_path / "b")
        tag = registry.add(pack())
        registry.point("tiny", {"parent": tag})
        between = iter([lambda: other.point("tiny", {"previous": tag})])
        put = objects.Connection.put

        def slowly(self: objects.Connection, *words: object, **state: object) -> None:
            next(between, lambda: None)()
            put(self, *words, **state)  # type: ignore[arg-type]

        monkeypatch.setattr(objects.Connection, "put", slowly)
        registry.point("tiny", {"champion": tag})

        assert registry.aliases("tiny") == {"parent": tag, "previous": tag, "champion": tag}

    def test_a_move_whose_answer_was_lost_is_made_once(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        registry = place.by(proxy.endpoint).registry(tmp_path / "a")
        tag = registry.add(pack())
        proxy.faults = [s3.Fault("PUT", "/aliases.json", "done and cut")]

        registry.point("tiny", {"champion": tag})

        writes = [path for method, path in proxy.seen if path.endswith("aliases.json")]
        # Read, written, written again in vain, and read: it was this very move.
        assert len(writes) == 4
        assert registry.aliases("tiny") == {"champion": tag}

    def test_a_move_over_a_document_that_was_removed_meanwhile_is_made(
        self, place: s3.Place, proxy: s3.Proxy, pack: Pack, tmp_path: Path
    ) -> None:
        registry = place.by(proxy.endpoint).registry(tmp_path / "a")
        tag = registry.add(pack())
        registry.point("tiny", {"parent": tag})
        proxy.faults = [s3.Fault("PUT", "/aliases.json", "404")]

        registry.point("tiny", {"champion": tag})

        assert registry.aliases("tiny") == {"parent": tag, "champion": tag}

    def test_a_document_that_does_not_parse_says_what_to_do(
        self, place: s3.Place, tmp_path: Path
    ) -> None:
        place.write("tiny/aliases.json", b"{")

        with pytest.raises(errors.EnvironmentProblem, match="restore it, or remove it"):
            place.registry(tmp_path / "a").aliases("tiny")


class TestTrouble:
    def test_a_store_that_is_not_there_is_said_with_its_address(self, tmp_path: Path) -> None:
        registry = s3.Place("http://127.0.0.1:9", "x").registry(tmp_path)

        with pytest.raises(errors.RegistryProblem, match=r"127\.0\.0\.1:9 did not .*ConnectError"):
            registry.tags("tiny")

    def test_a_bucket_that_is_not_there_is_named(self, place: s3.Place, tmp_path: Path) -> None:
        store = objects.Store(place.options()._replace(bucket="nobodys"), find=s3.who)
        registry = bucketed.S3Registry(store, "", cache.Cache(tmp_path, 1))

        with pytest.raises(errors.RegistryProblem, match="no bucket 'nobodys'"):
            registry.tags("tiny")

    def test_a_refusal_names_no_secret(
        self, place: s3.Place, proxy: s3.Proxy, tmp_path: Path
    ) -> None:
        proxy.faults = [s3.Fault("GET", "/aliases.json", "403")]
        registry = place.by(proxy.endpoint).registry(tmp_path)

        with pytest.raises(errors.RegistryProblem, match="check the credentials") as caught:
            registry.aliases("tiny")
        assert s3.who().secret not in str(caught.value)

    def test_certificates_that_cannot_be_read_are_named(
        self, place: s3.Place, tmp_path: Path
    ) -> None:
        store = objects.Store(place.options(ca_file=tmp_path / "none.pem"), find=s3.who)

        with pytest.raises(errors.RegistryProblem, match=r"store\.ca_file"):
            store.open()

    def test_credentials_that_expire_are_asked_for_anew(self, place: s3.Place) -> None:
        found = [s3.who()._replace(key=key, expires=time.time() + 60) for key in "ab"]
        store = objects.Store(place.options(), find=iter(found).__next__)

        assert [store.who().key, store.who().key] == ["a", "b"]


def test_the_settings_open_it(
    place: s3.Place, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ada")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    store = {
        "registry": "s3",
        "bucket": s3.BUCKET,
        "prefix": place.prefix,
        "endpoint": place.endpoint,
    }
    tree = settings.from_tree({"project": {"name": "tiny"}, "store": store}, root=tmp_path)

    tag = open_registry(tree).add(pack())

    assert place.registry(tmp_path / "b").tags("tiny") == [tag]
    assert open_registry(tree).path(tag).is_relative_to(tmp_path / ".coppice")
