"""Downloads and checksums. file:// addresses stand in for the network."""

import hashlib

import pytest

from data_cases import files_under, forbidden_download, raises
from dvae import data
from dvae.data import files


@pytest.fixture
def remote(tmp_path):
    """A published file, and the path that it is to be put at."""
    source = tmp_path / "server" / "file.bin"
    source.parent.mkdir()
    source.write_bytes(b"what was published" * 1000)
    published = files.PublishedFile(source.as_uri(), "sha256", hashlib.sha256(source.read_bytes()).hexdigest())
    return published, tmp_path / "home" / "sub" / "file.bin"


def test_digests():
    # Published values: FIPS 180 for "abc"; git's own blob of "hello\n" and the empty blob.
    assert files.digest_of(b"abc", "sha256") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.digest_of(b"hello\n", "git blob sha1") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert files.digest_of(b"", "git blob sha1") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize("algorithm", ["sha256", "git blob sha1"])
def test_missing_file_is_downloaded_once(remote, algorithm, monkeypatch):
    published, path = remote
    content = b"what was published" * 1000
    published = published._replace(algorithm=algorithm, digest=files.digest_of(content, algorithm))
    assert files.fetch(published, path) == content
    assert files_under(path.parents[1]) == [path]
    assert list(path.parent.iterdir()) == [path]  # no temporary folder left either
    monkeypatch.setattr(files.keras.utils, "get_file", forbidden_download)
    assert files.fetch(published, path) == content


def test_download_of_another_file_is_refused(remote):
    published, path = remote
    expected = "0" * 64
    with raises(published.url, published.digest, f"expected {expected}", path):
        files.fetch(published._replace(digest=expected), path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file.bin", "file:///there/is/no/such/file.bin"])
def test_network_failure(remote, url, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    published, path = remote
    with raises(path, "download failed", url, "by hand") as caught:
        files.fetch(published._replace(url=url), path)
    assert caught.value.__suppress_context__
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("interruption", [OSError("reset\nby peer"), KeyboardInterrupt()])
def test_broken_download_leaves_nothing(remote, interruption, monkeypatch):
    published, path = remote

    def break_off(fname, origin, cache_dir, cache_subdir):
        with open(f"{cache_dir}/{cache_subdir}{fname}", "w") as half:
            half.write("half")
        raise interruption

    monkeypatch.setattr(files.keras.utils, "get_file", break_off)
    expected = raises(path, "reset by peer") if isinstance(interruption, OSError) else pytest.raises(KeyboardInterrupt)
    with expected:
        files.fetch(published, path)
    assert list(path.parent.iterdir()) == []


def test_data_dir_that_cannot_be_used(remote, tmp_path):
    published, _ = remote
    (tmp_path / "a_file").write_text("not a folder")
    with raises(tmp_path / "a_file" / "sub" / "file.bin"):
        files.fetch(published, tmp_path / "a_file" / "sub" / "file.bin")
    with raises(tmp_path, "must be a file"):
        files.fetch(published, tmp_path)


@pytest.mark.parametrize("name", ["binarized_mnist", "omniglot"])
def test_published_data_without_network(name, tmp_path, monkeypatch):
    def unreachable(fname, origin, **kwargs):
        raise Exception(f"URL fetch failure on {origin}: None -- unreachable")  # noqa: TRY002 - as Keras does

    monkeypatch.setattr(files.keras.utils, "get_file", unreachable)
    with raises(tmp_path / name, "http", "by hand"):
        data.load_dataset(name, tmp_path)
    assert files_under(tmp_path) == []
