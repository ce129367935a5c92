"""The library as its users get it: installed, found by CMake and pkg-config, and as a subproject.

    LIBRARY=… GUESTS=… BUILD=… python3 -B -m unittest test_install
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(os.environ["LIBRARY"])
GUESTS = Path(os.environ["GUESTS"])
# Where CMake has built the tool.
BUILD = Path(os.environ["BUILD"])
STRICT = "-Wall -Wextra -Werror"


def run(*command, fails=False, **options):
    """Runs a command. Gives what it printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def project(self, text, name="main.cc", source="int main() {}"):
        """A directory with a CMakeLists.txt and a source."""
        project = self.scratch / "project"
        project.mkdir(exist_ok=True)
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.21)\nproject(p LANGUAGES C CXX)\nset(CMAKE_CXX_STANDARD 20)\n" + text
        )
        (project / name).write_text(source)
        return project

    def configure(self, project, *arguments, fails=False):
        """What CMake said. The build directory is `project/build`."""
        shutil.rmtree(project / "build", ignore_errors=True)
        return run("cmake", "-S", project, "-B", project / "build", *arguments, fails=fails)

    def build(self, project, *arguments):
        self.configure(project, f"-DCMAKE_C_FLAGS={STRICT}", *arguments)
        run("cmake", "--build", project / "build")
        return project / "build"


# A host in C and one in C++ that show that header and library belong together.
C_HOST = """#include <stdio.h>
#include <wasm_engine.h>
int main(void) {
  printf("%s %d\\n", wasm_library_version(), wasm_library_version_number() == WASM_ENGINE_VERSION_NUMBER);
}
"""
CPP_HOST = """#include <iostream>
#include <wasm_engine/wasm_engine.hh>
ADAPTER
int main() { std::cout << "runtime " << bool(wasmengine::runtime::create()) << '\\n'; }
"""


class Installed(Case):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        base = Path(cls.directory.name)
        run("cmake", "-S", ROOT, "-B", base / "build", f"-DWASM_ENGINE_LIBRARY={LIBRARY}", "-DWASM_ENGINE_TOOL=OFF")
        run("cmake", "--build", base / "build")
        installed = run("cmake", "--install", base / "build", "--prefix", "/usr", env=os.environ | {"DESTDIR": str(base)})
        assert "wasm_engine.h" in installed
        # Somewhere else than where it was installed to: nothing in it may be an absolute path.
        cls.prefix = base / "moved"
        (base / "usr").rename(cls.prefix)
        cls.find = f"-DCMAKE_PREFIX_PATH={cls.prefix}"
        cls.libraries = next(cls.prefix.glob("lib*/**/libwasm_engine.so")).parent

    def test_the_library_has_three_names(self):
        names = sorted(self.libraries.glob("libwasm_engine*"))
        plain, major, full = (name.name for name in names)
        self.assertEqual((plain, major), ("libwasm_engine.so", "libwasm_engine.so.0"))
        self.assertRegex(full, r"^libwasm_engine\.so\.0\.\d+\.\d+$")
        self.assertEqual([os.path.islink(name) for name in names], [True, True, False])
        self.assertIn("[libwasm_engine.so.0]", run("readelf", "-d", names[0]))
        self.assertIn("Build ID", run("readelf", "-n", names[0]))

    def test_all_headers_are_there(self):
        of = lambda place: {str(path.relative_to(place)) for path in place.rglob("*.h*")}  # noqa: E731
        self.assertEqual(of(self.prefix / "include"), of(ROOT / "include"))

    def test_the_licences_are_there(self):
        docs = next(self.prefix.glob("share/doc/*"))
        self.assertLessEqual({"LICENSE", "THIRD-PARTY.md", "sbom.cdx.json"}, {path.name for path in docs.iterdir()})

    def test_pkg_config(self):
        (self.scratch / "host.c").write_text(C_HOST)
        pc = next(self.prefix.glob("lib*/**/wasm_engine.pc"))
        env = os.environ | {"PKG_CONFIG_PATH": str(pc.parent), "LD_LIBRARY_PATH": str(self.libraries)}
        flags = run("pkg-config", "--cflags", "--libs", "wasm_engine", env=env).split()
        run("cc", "-std=c11", *STRICT.split(), "-o", self.scratch / "host", self.scratch / "host.c", *flags)
        version = run("pkg-config", "--modversion", "wasm_engine", env=env).strip()
        self.assertEqual(run(self.scratch / "host", env=env), f"{version} 1\n")

    def test_find_package(self):
        text = "find_package(wasm_engine 0.1 CONFIG REQUIRED)\nadd_executable(host main.c)\n"
        text += "target_link_libraries(host wasm_engine::wasm_engine)\n"
        out = self.build(self.project(text, "main.c", C_HOST), self.find)
        self.assertRegex(run(out / "host"), r"^0\.\d+\.\d+ 1\n$")
        self.assertIn("[libwasm_engine.so.0]", run("readelf", "-d", out / "host"))

    def test_components_bring_what_their_loop_needs(self):
        for component in ("asio", "libuv"):
            text = f"find_package(wasm_engine CONFIG REQUIRED COMPONENTS {component})\nadd_executable(host main.cc)\n"
            text += f"target_link_libraries(host wasm_engine::{component})\n"
            source = CPP_HOST.replace("ADAPTER", f"#include <wasm_engine/{component}.hh>")
            self.assertEqual(run(self.build(self.project(text, source=source), self.find) / "host"), "runtime 1\n")

    def test_what_is_not_there_is_refused(self):
        for what, why in (
            ("wasm_engine 0.2 CONFIG REQUIRED", "version"),
            ("wasm_engine 1.0 CONFIG REQUIRED", "version"),
            ("wasm_engine CONFIG REQUIRED COMPONENTS tokio", "there are the components asio, libuv, remote and seastar"),
        ):
            said = self.configure(self.project(f"find_package({what})\n"), self.find, fails=True)
            self.assertIn(why, " ".join(said.split()))
        optional = "find_package(wasm_engine CONFIG OPTIONAL_COMPONENTS tokio)\nmessage(STATUS found=${wasm_engine_FOUND})\n"
        self.assertIn("found=1", self.configure(self.project(optional), self.find))

    def test_an_absolute_place_is_refused(self):
        flags = (f"-DWASM_ENGINE_LIBRARY={LIBRARY}", "-DWASM_ENGINE_TOOL=OFF", "-DWASM_ENGINE_TESTS=OFF")
        for place in ("BINDIR", "INCLUDEDIR", "LIBDIR"):
            where = f"-DCMAKE_INSTALL_{place}=/opt/place"
            said = run("cmake", "-S", ROOT, "-B", self.scratch / place, *flags, where, fails=True)
            message = f"CMAKE_INSTALL_{place} is /opt/place but must be relative to CMAKE_INSTALL_PREFIX"
            self.assertIn(message, " ".join(said.split()))

    def test_the_tool_finds_the_library_beside_it(self):
        run("cmake", "--install", BUILD, "--component", "tool", "--prefix", self.prefix)
        tool = self.prefix / "bin/wasm-transform"
        self.assertIn(f"{self.libraries}/libwasm_engine.so.0", run("ldd", tool).replace("bin/../", ""))
        self.assertEqual(run(tool, "run", GUESTS / "c_identity.wasm", input="a\n").splitlines()[0], "a")
        for name in ("man/man1/wasm-transform.1", "bash-completion/completions/wasm-transform",
                     "zsh/site-functions/_wasm-transform", "fish/vendor_completions.d/wasm-transform.fish"):
            self.assertIn("wasm-transform", (self.prefix / "share" / name).read_text())

    def test_debug_information_only_when_named(self):
        debug = self.libraries / ".debug/libwasm_engine.so.debug"
        self.assertFalse(debug.exists())
        run("cmake", "--install", self.prefix.parent / "build", "--component", "debug", "--prefix", self.prefix)
        library = self.libraries / "libwasm_engine.so"
        self.assertIn(debug.name.encode(), library.read_bytes())
        self.assertEqual(*(run("readelf", "-n", path).split("Build ID:")[1] for path in (debug, library)))

    def test_licences(self):
        names = {path.name for path in self.prefix.glob("share/doc/wasm_engine/*")}
        self.assertLessEqual({"LICENSE", *(path.name for path in ROOT.glob("THIRD-PARTY*"))}, names)

    def test_the_example_on_epoll(self):
        out = self.scratch / "c_epoll"
        flags = (f"-DCMAKE_C_FLAGS={STRICT}", self.find)
        run("cmake", "-S", ROOT / "examples/c_epoll", "-B", out, *flags)
        run("cmake", "--build", out)
        guest = GUESTS / "c_tee.wasm"
        self.assertEqual(run(out / "c_epoll", guest, "1 a", "2 b", "0 c"), "0: 1 a\n1: 2 b\n1: 2 b\n")
        self.assertIn("module-not-wasm", run(out / "c_epoll", out / "Makefile", "1", fails=True))
        with subprocess.Popen([out / "c_epoll", guest, *["1 a"] * 1000], stdout=subprocess.PIPE, text=True) as endless:
            self.assertEqual(endless.stdout.readline(), "0: 1 a\n")
            endless.terminate()
            rest = endless.stdout.read()
        self.assertEqual(endless.returncode, 130)
        self.assertLess(len(rest.splitlines()), 999)
        # The same source, which loads the library.
        self.assertNotIn("wasm_engine", run("readelf", "-d", out / "c_epoll_dlopen"))
        env = os.environ | {"LD_LIBRARY_PATH": str(self.libraries)}
        self.assertEqual(run(out / "c_epoll_dlopen", guest, "1 a", "2 b", env=env), "0: 1 a\n1: 2 b\n1: 2 b\n")
        env = os.environ | {"LD_LIBRARY_PATH": ""}
        said = run(out / "c_epoll_dlopen", guest, "1 a", fails=True, env=env)
        self.assertIn("libwasm_engine.so.0: cannot open shared object file", said)


class Subproject(Case):
    TEXT = f"add_subdirectory({ROOT} engine)\nadd_executable(host main.c)\ntarget_link_libraries(host wasm_engine::wasm_engine)\n"

    def test_cargo_is_called(self):
        # One that tells what it was called with.
        said = self.scratch / "said"
        cargo = self.scratch / "cargo"
        cargo.write_text(f'#!/bin/sh\necho "$@" >{said}\nexec {shutil.which("cargo")} "$@"\n')
        cargo.chmod(0o755)
        # In the directory in which all is built already.
        place = f"-DWASM_ENGINE_CARGO_TARGET_DIR={LIBRARY.parents[1]}"
        out = self.build(self.project(self.TEXT, "main.c", C_HOST), place, f"-DCARGO={cargo}")
        self.assertRegex(run(out / "host"), r"^0\.\d+\.\d+ 1\n$")
        self.assertIn(f"build --release --locked --lib --manifest-path {ROOT}/Cargo.toml", said.read_text())

    def test_nothing_else_is_built_or_installed(self):
        project = self.project(self.TEXT, "main.c", C_HOST)
        out = self.build(project, f"-DWASM_ENGINE_LIBRARY={LIBRARY}")
        self.assertEqual(run("ctest", "-N", "--test-dir", out).splitlines()[-1], "Total Tests: 0")
        self.assertNotIn("wasm-transform", run("cmake", "--build", out, "--target", "help"))
        run("cmake", "--install", out, "--prefix", self.scratch / "nothing")
        self.assertFalse((self.scratch / "nothing").exists())
        cache = (out / "CMakeCache.txt").read_text()
        for package in ("GTest", "fmt", "CURL"):
            self.assertNotIn(f"{package}_DIR", cache)


if __name__ == "__main__":
    unittest.main()
