"""What the engine does to sandboxes, and they to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run import layer_of, script

from conftest import BASE, ROOT, Server

LIMIT = 60.0


def until(holds: Callable[[], Any]) -> Any:
    """What ``holds`` gives once it is true."""
    end = time.monotonic() + LIMIT
    while not (result := holds()):
        assert time.monotonic() < end, "it never comes"
        time.sleep(0.05)
    return result


def of_image(image: Any, **more: Any) -> Any:
    from daytona_native import CreateSandboxFromImageParams

    return CreateSandboxFromImageParams(image=image, **more)


def based(*commands: str) -> Any:
    from daytona_native import Image

    return Image.base(BASE).run_commands(*commands)


def test_an_engine_comes_and_goes(folder: Path) -> None:
    from daytona_native import DaytonaError

    with script("engine.py", folder / "engine", "--live-restore") as (_, engine):
        server = Server(folder / "data", f"unix://{folder}/engine/docker.sock", "--docker-image", "shell")
        save = subprocess.Popen(["docker", "save", "programs"], stdout=subprocess.PIPE)
        subprocess.run(["docker", "load", "-q"], stdin=save.stdout, env={**os.environ, "DOCKER_HOST": server.host})
        server.docker("tag", "programs", "shell")
        kept, other = server.client.create(), server.client.create()
        kept.process.exec("echo kept > file; sleep 1000 >/dev/null 2>&1 </dev/null &")

        engine("kill")
        with pytest.raises(DaytonaError, match="systemctl start docker") as refused:
            server.client.create()
        assert refused.value.status_code == 503
        # What runs goes on, and can be used.
        assert kept.process.exec("cat file").result == "kept\n"

        engine("start")
        assert kept.process.exec("pgrep -c sleep").result == "1\n"
        kept.refresh_data()
        assert kept.state == "started"
        kept.pause()
        kept.start()
        kept.stop()
        kept.start()
        assert kept.process.exec("cat file; pgrep -c sleep").result == "kept\n0\n"
        other.delete(wait=True)
        assert len(server.docker("ps", "-aq").split()) == 1

        # The end of a container that has outlived an engine is noticed by the next one.
        server.docker("kill", server.docker("ps", "-q").strip())
        until(lambda: (kept.refresh_data(), kept.state != "started")[1])
        kept.start() if kept.state == "stopped" else kept.recover()
        assert kept.process.exec("cat file").result == "kept\n"
        server.close()


def test_limits_hold(server: Server) -> None:
    from daytona_native import Resources

    sandbox = server.client.create(of_image("programs", resources=Resources(cpu=1, memory=1)))
    limits = server.docker(
        "inspect", "-f", "{{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}", container(server, sandbox)
    )
    assert limits == f"100000 {1 << 30}\n"
    taken = sandbox.process.exec("python3 -c 'x = bytearray(1500 << 20); print(len(x))'")
    assert taken.exit_code != 0
    assert sandbox.process.exec("python3 -c 'x = bytearray(500 << 20); print(len(x))'").result == f"{500 << 20}\n"
    sandbox.resize(Resources(memory=2))
    assert sandbox.process.exec("python3 -c 'x = bytearray(1500 << 20); print(len(x))'").result == f"{1500 << 20}\n"


def container(server: Server, sandbox: Any) -> str:
    return server.docker("ps", "-aq", "--filter", f"label=daytona-native.sandbox={sandbox.id}").strip()


def test_a_loss_is_accepted_in_every_language(server: Server) -> None:
    from daytona_native import AsyncDaytona, DaytonaConflictError

    sandbox = server.client.create()

    def lose() -> None:
        server.docker("rm", "-f", container(server, sandbox))
        until(lambda: (sandbox.refresh_data(), sandbox.state == "error")[1])

    async def recover_asynchronously() -> None:
        async with AsyncDaytona(server.config) as client:
            same = await client.get(sandbox.id)
            with pytest.raises(DaytonaConflictError, match="container was removed"):
                await same.recover()
            await same.recover(accept_loss=True)

    lose()
    with pytest.raises(DaytonaConflictError, match="container was removed") as refused:
        sandbox.recover()
    assert refused.value.code == "SANDBOX_FILES_LOST"
    sandbox.recover(accept_loss=True)
    assert sandbox.process.exec("echo begun").result == "begun\n"
    lose()
    asyncio.run(recover_asynchronously())
    lose()
    node = """
        const { Daytona, DaytonaConflictError } = await import(process.argv[1])
        const sandbox = await new Daytona().get(process.argv[2])
        try {
          await sandbox.recover()
          process.exit(1)
        } catch (error) {
          if (!(error instanceof DaytonaConflictError) || error.code !== 'SANDBOX_FILES_LOST') throw error
        }
        await sandbox.recover(60, { acceptLoss: true })
    """
    settings = {"DAYTONA_API_URL": server.config.api_url, "DAYTONA_API_KEY": server.config.api_key}
    words = ["node", "--input-type=module", "-e", node, str(ROOT / "bindings-node/index.mjs"), sandbox.id]
    subprocess.run(words, check=True, env={**os.environ, **settings})
    sandbox.refresh_data()
    assert sandbox.process.exec("echo begun").result == "begun\n"


def test_two_equal_builds_at_once(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    image = based("sleep 1; head -c 8 /dev/urandom | od -An -tx1 > /made")
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda _: server.client.create(of_image(image), timeout=60), range(2)))
    made = [sandbox.process.exec("cat /made").result for sandbox in both]
    assert all(made)
    third = server.client.create(of_image(image), timeout=10)
    assert third.process.exec("cat /made").result in made


def test_a_build_that_is_deleted_ends(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from daytona_native import DaytonaError

    with ThreadPoolExecutor() as pool:
        build = pool.submit(lambda: server.client.create(of_image(based("sleep 600"), name="long"), timeout=60))
        until(lambda: server.docker("ps", "-q").split())
        server.client.get("long").delete()
        with pytest.raises(DaytonaError):
            build.result()
    until(lambda: not server.docker("ps", "-q").split())


def test_a_killed_server_builds_again(folder: Path) -> None:
    host = os.environ["DOCKER_HOST"]
    server = Server(folder / "data", host)
    from concurrent.futures import ThreadPoolExecutor

    image = based(f"echo {os.getpid()} > /made; sleep 3")
    with ThreadPoolExecutor() as pool:
        build = pool.submit(lambda: server.client.create(of_image(image, name="cut"), timeout=60))
        until(lambda: server.docker("ps", "-q").split())
        server.kill()
        assert build.exception()
    # Nobody waits for it any more.
    until(lambda: not server.docker("ps", "-q").split())
    server = Server(folder / "data", host)
    made = server.client.get("cut")
    made.wait_for_sandbox_start(timeout=60)
    assert made.process.exec("cat /made").result == f"{os.getpid()}\n"
    server.close()


def test_a_corrupt_layer_and_a_wrong_digest_are_named(server: Server) -> None:
    from daytona_native import DaytonaBuildFailedError

    name = f"127.0.0.1:5000/broken:{os.getpid()}"
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=f"FROM {BASE}\nRUN echo whole > /made\n".encode())
    server.docker("push", "-q", name)
    server.docker("rmi", "-f", name)
    layer = layer_of(Path(os.environ["DAYTONA_NATIVE_TEST_REGISTRY"]), "broken", str(os.getpid()))
    whole = layer.read_bytes()
    layer.write_bytes(whole[:-20] + bytes(byte ^ 1 for byte in whole[-20:]))
    with pytest.raises(DaytonaBuildFailedError, match=name) as corrupt:
        server.client.create(of_image(name), timeout=60)
    assert "verification failed" in str(corrupt.value) or "invalid" in str(corrupt.value)
    layer.write_bytes(whole)
    wrong = f"127.0.0.1:5000/broken@sha256:{'0' * 64}"
    with pytest.raises(DaytonaBuildFailedError, match="not found"):
        server.client.create(of_image(wrong), timeout=60)
    assert server.client.create(of_image(name), timeout=60).process.exec("cat /made").result == "whole\n"


def test_a_full_disk_is_named(folder: Path) -> None:
    from daytona_native import DaytonaBuildFailedError

    registry = os.environ["DAYTONA_NATIVE_TEST_REGISTRY"]
    with script("engine.py", folder / "engine", registry, "size=1g"):
        server = Server(folder / "data", f"unix://{folder}/engine/docker.sock")
        with pytest.raises(DaytonaBuildFailedError, match=r"(?i)no space left on device"):
            server.client.create(of_image(based("head -c 1G /dev/zero > /large")), timeout=60)
        made = server.client.create(of_image(based("echo small > /made")), timeout=60)
        assert made.process.exec("cat /made").result == "small\n"
        server.close()


def test_an_image_that_is_no_more_used_goes(folder: Path) -> None:
    host = os.environ["DOCKER_HOST"]

    def built() -> set[str]:
        names = server.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        return {name for name in names if ":build-" in name}

    server = Server(folder / "data", host)
    before = built()
    sandbox = server.client.create(of_image(based("echo one > /made")), timeout=60)
    own = built() - before
    assert len(own) == 1
    sandbox.delete(wait=True)
    server.close()
    server = Server(folder / "data", host)
    assert not own & built()
    server.close()
