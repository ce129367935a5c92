# SPDX-License-Identifier: Apache-2.0
"""What a module is made of, and where its time goes."""

import hashlib
import json
import xml.etree.ElementTree

from tool import GUESTS, MODULE_REFUSED, ToolTest, guest, main


class Inspect(ToolTest):
    def test_sha256_sdk_and_sizes(self):
        for name in ("rust_redact", "go_identity", "cpp_filter", "c_identity", "wat_traps"):
            with self.subTest(name):
                content = (GUESTS / f"{name}.wasm").read_bytes()
                module = json.loads(self.tool("inspect", guest(name), "--json").bytes)
                self.assertEqual(module["sha256"], hashlib.sha256(content).hexdigest())
                self.assertEqual(sum(section["size"] for section in module["sections"]) + 8, len(content))
                code = next(section["size"] for section in module["sections"] if section["name"] == "code")
                functions = module["function_sizes"]
                self.assertEqual(len(functions), module["functions"])
                # Beside the functions' bodies: how long each is, how many there are, and the section's head.
                self.assertLess(code - sum(f["size"] for f in functions), 5 * len(functions) + 12)
                self.assertEqual([f["size"] for f in functions], sorted((f["size"] for f in functions), reverse=True))
        module = json.loads(self.tool("inspect", guest("rust_redact"), "--json").bytes)
        self.assertEqual(module["sdk"], "redpanda-transform-sdk (Rust)")
        self.assertTrue(any("redact" in function["name"] for function in module["function_sizes"]))
        text = self.tool("inspect", guest("rust_redact")).bytes.decode()
        self.assertIn("bytes by function", text)
        self.assertRegex(text, r"(?m)^ +[\d,]+  the other \d+$")

    def test_sha256_of_all_lengths_of_a_last_block(self):
        for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, 128):
            content = b"\0asm\1\0\0\0" + (b"" if size == 0 else bytes([0, size + 1, 0]) + b"x" * size)
            self.write("module.wasm", content)
            module = json.loads(self.tool("inspect", "module.wasm", "--json").bytes)
            self.assertEqual(module["sha256"], hashlib.sha256(content).hexdigest(), size)

    def test_a_compiled_module(self):
        self.tool("precompile", guest("rust_identity"), "-o", "guest.cwasm")
        content = (self.directory / "guest.cwasm").read_bytes()
        compiled = json.loads(self.tool("inspect", "guest.cwasm", "--json").bytes)
        self.assertEqual(compiled["sha256"], hashlib.sha256(content).hexdigest())
        self.assertEqual(compiled["module_sha256"], hashlib.sha256((GUESTS / "rust_identity.wasm").read_bytes()).hexdigest())
        self.assertIn(".text", [section["name"] for section in compiled["sections"]])
        self.assertIn("bytes by section", self.tool("inspect", "guest.cwasm").bytes.decode())
        # Cut short, or with lengths that lead beyond its end.
        for size in (*range(0, 140, 7), len(content) // 2):
            self.write("guest.cwasm", content[:size])
            self.tool("inspect", "guest.cwasm", code=MODULE_REFUSED if size < 140 else None)
        for at in range(8, 400):
            self.write("guest.cwasm", content[:at] + b"\xff" + content[at + 1:5000])
            self.tool("inspect", "guest.cwasm", code=None)


class FlameGraph(ToolTest):
    def test_a_profile_as_a_picture(self):
        self.run_guest("odd_busy", "--profile", "profile.svg", stdin="work 300\n" * 3)
        picture = xml.etree.ElementTree.parse(self.directory / "profile.svg").getroot()
        self.assertEqual(picture.tag, "{http://www.w3.org/2000/svg}svg")
        titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
        self.assertRegex(titles[0], r"^all \([\d,]+ samples, 100.0%\)$")
        self.assertTrue(any("_start" in title or "on_record" in title for title in titles), titles)


if __name__ == "__main__":
    main()
