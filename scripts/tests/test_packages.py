"""Debian's packages and the archive, as `make deb tarball` has made them.

    PACKAGES=… GUESTS=… python3 -B -m unittest test_packages.Contents     seconds
    PACKAGES=… GUESTS=… python3 -B -m unittest test_packages              also in a new system: minutes, and as root
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(os.environ["PACKAGES"])
GUESTS = Path(os.environ["GUESTS"])
NAMES = {"libwasm-engine0", "libwasm-engine0-dbgsym", "libwasm-engine-dev", "mosquitto-plugin-wasm-engine",
         "mosquitto-plugin-wasm-engine-dbgsym", "wasm-transform", "wasm-transform-dbgsym"}
# `make deb TOOL=OFF`, `make deb DAEMON=ON`.
TOOL = os.environ.get("TOOL") != "OFF"
if not TOOL:
    NAMES -= {"wasm-transform", "wasm-transform-dbgsym"}
DAEMON = os.environ.get("DAEMON") == "ON"
if DAEMON:
    NAMES |= {"wasm-transformd", "wasm-transformd-dbgsym"}
# What must be in no file that ships.
OF_THIS_MACHINE = [str(ROOT), str(Path.home() / ".cargo"), str(Path.home() / ".rustup")]


def run(*command, **options):
    """Runs a command. Gives what it printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def packages():
    return {path.name.split("_")[0]: path for path in PACKAGES.glob("*.deb")}


def archive():
    return next(PACKAGES.glob("*.tar.xz"))


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.files = {}
        for name, path in packages().items():
            run("dpkg-deb", "-x", path, Path(cls.directory.name) / name)
            cls.files[name] = cls.listed(name)

    @classmethod
    def listed(cls, name):
        base = Path(cls.directory.name) / name
        return {str(path.relative_to(base)) for path in base.rglob("*") if not path.is_dir() or path.is_symlink()}

    def test_all_are_there(self):
        self.assertEqual(set(packages()), NAMES)

    def test_lintian(self):
        # No bug of Debian's asks for the package.
        quiet = ("--suppress-tags", "initial-upload-closes-no-bugs")
        said = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *quiet, *packages().values()],
                              text=True, capture_output=True)
        self.assertEqual((said.returncode, said.stdout), (0, ""), said.stderr)

    def test_who_has_what(self):
        def has(package, *patterns):
            for pattern in patterns:
                found = [name for name in self.files[package] if re.fullmatch(pattern, name)]
                self.assertTrue(found, f"{package}: {pattern}")

        library = r"usr/lib/[\w-]+/"
        has("libwasm-engine0", library + r"libwasm_engine\.so\.0", library + r"libwasm_engine\.so\.0\.\d+\.\d+",
            library + r"wasm_engine-0/wasm-compile-helper", r"usr/share/doc/libwasm-engine0/copyright")
        has("libwasm-engine-dev", library + r"libwasm_engine\.so", library + r"libwasm_engine\.a",
            library + r"pkgconfig/wasm_engine\.pc", library + r"cmake/wasm_engine/wasm_engineConfig\.cmake",
            r"usr/include/wasm_engine\.h", r"usr/include/wasm_engine/wasm_engine\.hh",
            r"usr/share/doc/libwasm-engine-dev/examples/c_epoll/main\.c(\.gz)?")
        if TOOL:
            has("wasm-transform", r"usr/bin/wasm-transform", r"usr/share/man/man1/wasm-transform\.1\.gz",
                r"usr/share/bash-completion/completions/wasm-transform",
                r"usr/share/wasm-engine/templates/(c/src/transform\.c|go/transform/abi\.go|js-guest/glue\.c)",
                r"usr/share/zsh/vendor-completions/_wasm-transform",
                r"usr/share/fish/vendor_completions\.d/wasm-transform\.fish")
        has("mosquitto-plugin-wasm-engine", library + r"mosquitto/mosquitto_wasm\.so",
            r"usr/share/doc/mosquitto-plugin-wasm-engine/README\.md(\.gz)?")
        has("libwasm-engine0-dbgsym", r"usr/lib/debug/\.build-id/../\w+\.debug")
        # The notices that go with what is inside.
        notices = [path.name for path in ROOT.glob("THIRD-PARTY*")]
        has("libwasm-engine0", *(rf"usr/share/doc/libwasm-engine0/{re.escape(name)}(\.gz)?" for name in notices))

    @unittest.skipUnless(DAEMON, "made without wasm-transformd")
    def test_the_daemon(self):
        base = Path(self.directory.name) / "wasm-transformd"
        for name in ("usr/bin/wasm-transformd", "usr/share/man/man8/wasm-transformd.8.gz",
                     "usr/share/wasm-transformd/transform.schema.json", "lib/systemd/system/wasm-transformd.service",
                     "etc/default/wasm-transformd"):
            self.assertIn(name, self.files["wasm-transformd"])
        self.assertTrue((base / "etc/wasm-transformd").is_dir())
        # Of a file that is edited: an upgrade keeps it.
        run("dpkg-deb", "-e", packages()["wasm-transformd"], base / "DEBIAN")
        self.assertEqual((base / "DEBIAN/conffiles").read_text().split(), ["/etc/default/wasm-transformd"])
        depends = run("dpkg-deb", "-f", packages()["wasm-transformd"], "Depends")
        self.assertRegex(depends, r"libwasm-engine0 \(>= 0\.\d+\.\d+\)")
        self.assertRegex(depends, r"librdkafka1 \(>= \d")
        page = subprocess.run(["zcat", base / "usr/share/man/man8/wasm-transformd.8.gz"], text=True, capture_output=True, check=True)
        self.assertIn("\\-\\-socket", page.stdout)
        unit = (base / "lib/systemd/system/wasm-transformd.service").read_text()
        for line in ("Type=notify", "DynamicUser=yes", "RuntimeDirectory=wasm-transformd", "NoNewPrivileges=yes"):
            self.assertIn(line + "\n", unit)
        # It would forbid what compiled modules are.
        self.assertNotIn("\nMemoryDenyWriteExecute=yes", unit)

    def test_what_depends_on_what(self):
        depends = {name: run("dpkg-deb", "-f", path, "Depends") for name, path in packages().items()}
        self.assertRegex(depends["libwasm-engine0"], r"libc6 \(>= 2\.\d\d\)")
        self.assertIn("libwasm-engine0 (= ", depends["libwasm-engine-dev"])
        for name in ("wasm-transform", "mosquitto-plugin-wasm-engine")[0 if TOOL else 1:]:
            self.assertRegex(depends[name], r"libwasm-engine0 \(>= 0\.\d+\.\d+\)")
        self.assertRegex(depends["mosquitto-plugin-wasm-engine"], r"mosquitto \(>= 2\.0\)")

    def test_debug_information_belongs_to_the_library(self):
        base = Path(self.directory.name)
        library = next(base.glob("libwasm-engine0/usr/lib/*/libwasm_engine.so.0.*"))
        build_id = re.search(r"Build ID: (\w+)", run("readelf", "-n", library)).group(1)
        debug = base / f"libwasm-engine0-dbgsym/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
        self.assertIn(f"Build ID: {build_id}", run("readelf", "-n", debug))
        self.assertNotIn(".symtab", run("readelf", "-SW", library))
        text = run("readelf", "--decompress", "--string-dump=.debug_str", debug, errors="replace")
        self.assertTrue("/usr/src/wasm-engine" in text, "the library's sources have no place")

    def test_no_path_of_this_machine(self):
        base = Path(self.directory.name)
        run("tar", "-xJf", archive(), "-C", base)
        scanned = 0
        for path in base.rglob("*"):
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()
            if path.suffix == ".gz":
                data = subprocess.run(["zcat", path], capture_output=True, check=True).stdout
            elif path.suffix == ".debug":
                plain = base / "plain"
                run("objcopy", "--decompress-debug-sections", path, plain)
                data = plain.read_bytes()
            for text in OF_THIS_MACHINE:
                self.assertNotIn(text.encode(), data, f"{path.relative_to(base)} has {text}")
            scanned += 1
        self.assertGreater(scanned, 50)


@unittest.skipUnless(os.geteuid() == 0, "chroot is for root")
class NewSystem(unittest.TestCase):
    """A Debian with nothing of this machine in it."""

    @classmethod
    def setUpClass(cls):
        cls.system = Path(tempfile.mkdtemp(prefix="wasm-engine-system-"))
        cls.addClassCleanup(shutil.rmtree, cls.system)
        wanted = "--include=gcc,libc6-dev,g++,make,cmake,pkg-config,gdb,xz-utils"
        # With the lists of packages, for what packages depend on.
        run("mmdebstrap", "--variant=minbase", "--skip=cleanup/apt/lists", wanted, "bookworm", cls.system)
        for path in [*packages().values(), archive(), GUESTS / "c_tee.wasm", GUESTS / "c_identity.wasm"]:
            shutil.copy(path, cls.system / "root")
        shutil.copy("/etc/resolv.conf", cls.system / "etc")
        # Packages start no services, which would use this machine's ports.
        policy = cls.system / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)

    def inside(self, script):
        """Runs a script in the system."""
        alone = ("unshare", "--mount", "--pid", "--fork", "chroot", self.system)
        environment = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8")
        return run(*alone, *environment, "sh", "-euc", f"mount -t proc proc /proc\ncd /root\n{script}", timeout=600)

    def test_packages(self):
        self.inside("apt-get install -y --no-install-recommends ./*.deb >log 2>&1 || { cat log; exit 1; }")
        example = "cmake -S /usr/share/doc/libwasm-engine-dev/examples/c_epoll -B c_epoll && cmake --build c_epoll"
        self.inside(example)
        self.assertEqual(self.inside("c_epoll/c_epoll c_tee.wasm '1 a' '2 b' '0 c'"), "0: 1 a\n1: 2 b\n1: 2 b\n")
        flags = "$(pkg-config --cflags --libs wasm_engine)"
        self.inside(f"cc -o linked /usr/share/doc/libwasm-engine-dev/examples/c_epoll/main.c {flags}")
        self.assertEqual(self.inside("./linked c_tee.wasm '1 a'"), "0: 1 a\n")
        self.assertEqual(self.inside("echo a | wasm-transform run c_identity.wasm 2>log"), "a\n")
        self.assertIn("usr/share/man", self.inside("dpkg -L wasm-transform"))
        # Lines of the library, by its debug information.
        commands = "-ex 'break wasm_runtime_create' -ex run -ex bt"
        stopped = self.inside(f"gdb -batch {commands} --args ./linked c_tee.wasm 1 2>&1")
        self.assertRegex(stopped, r"src/abi/runtime\.rs:\d+")
        self.inside("apt-get purge -y libwasm-engine0 >log 2>&1; ! ls /usr/lib/*/libwasm_engine* 2>/dev/null")

    def test_the_plugin(self):
        """In Debian's broker, with Debian's settings."""
        packages = "./libwasm-engine0_*.deb ./mosquitto-plugin-wasm-engine_*.deb mosquitto-clients"
        self.inside(f"apt-get install -y --no-install-recommends {packages} >log 2>&1 || {{ cat log; exit 1; }}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        etc = self.system / "etc/mosquitto"
        plugin = self.inside("dpkg -L mosquitto-plugin-wasm-engine | grep mosquitto_wasm.so").strip()
        (etc / "conf.d/wasm.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nplugin {plugin}\nplugin_opt_config /etc/mosquitto/transforms\n"
        )
        (etc / "transforms").write_text(
            "transform tee\nmodule /etc/mosquitto/c_tee.wasm\nfilter sensors/+/raw\noutput out clean/{2}\n"
        )
        shutil.copy(GUESTS / "c_tee.wasm", etc)
        at = f"-h 127.0.0.1 -p {port}"
        got = self.inside(f"""
            install -d -o mosquitto /run/mosquitto
            mosquitto -c /etc/mosquitto/mosquitto.conf >broker 2>&1 &
            tries=0
            until mosquitto_pub {at} -t ready -m 1 2>client; do
              tries=$((tries + 1))
              [ $tries -lt 300 ] && kill -0 $! || {{ cat client broker /var/log/mosquitto/mosquitto.log >&2; exit 1; }}
              sleep 0.1
            done
            mosquitto_sub {at} -t 'clean/#' -F '%t %p' -C 2 -W 60 >received &
            while kill -0 $! 2>/dev/null; do
              mosquitto_pub {at} -t sensors/7/raw -m '2 copies'
              sleep 0.1
            done
            cat received""")
        self.assertEqual(got, "clean/7 2 copies\n" * 2)

    @unittest.skipUnless(DAEMON, "made without wasm-transformd")
    def test_the_daemon(self):
        """There is no systemd in the system: its command is run by hand, and what it checks by systemd's own tool."""
        packages = "./libwasm-engine0_*.deb ./wasm-transformd_*.deb"
        self.inside(f"apt-get install -y --no-install-recommends {packages} >log 2>&1 || {{ cat log; exit 1; }}")
        etc = self.system / "etc/wasm-transformd"
        (etc / "orders.yaml").write_text("name: orders\ninput-topic: in\noutput-topics: [out]\nmodule: c_tee.wasm\n"
                                         "brokers: 127.0.0.1:1\nclient: {sasl.password: '${PASSWORD}'}\n")
        shutil.copy(GUESTS / "c_tee.wasm", etc)
        self.assertEqual(self.inside("PASSWORD=x wasm-transformd --check /etc/wasm-transformd/*.yaml"), "")
        self.inside("""
            mkdir -p /run/wasm-transformd /var/lib/wasm-transformd
            start=$(sed -n 's/^ExecStart=//p' /lib/systemd/system/wasm-transformd.service)
            PASSWORD=x sh -c "$start" 2>log &
            tries=0
            until test -S /run/wasm-transformd/control; do
              tries=$((tries + 1))
              [ $tries -lt 300 ] && kill -0 $! || { cat log >&2; exit 1; }
              sleep 0.1
            done
            kill $!
            wait $! || { cat log >&2; exit 1; }""")

    def test_the_archive(self):
        self.inside("mkdir -p opt && tar -xJf *.tar.xz -C opt --strip-components=1")
        self.inside("cmake -S opt/share/doc/wasm_engine/examples/c_epoll -B of_archive -DCMAKE_PREFIX_PATH=/root/opt")
        self.inside("cmake --build of_archive")
        self.assertEqual(self.inside("of_archive/c_epoll c_tee.wasm '1 a'"), "0: 1 a\n")


if __name__ == "__main__":
    unittest.main()
