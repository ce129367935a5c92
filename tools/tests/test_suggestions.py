# SPDX-License-Identifier: Apache-2.0
"""What is said about a command line that is wrong."""

from tool import USAGE, ToolTest, guest, main


class Suggestions(ToolTest):
    def test_words_that_were_meant(self):
        module = guest("c_identity")
        for arguments, message in (
            (["run", module, "--frmt", "json"], "run has no option --frmt; did you mean --format?"),
            (["run", "--fromat=json", module], "run has no option --fromat; did you mean --format?"),
            (["run", module, "--output-topics", "x"], "run has no option --output-topics; did you mean --output-topic?"),
            (["run", module, "--ouptut", "x"], "run has no option --ouptut; did you mean --output?"),
            (["run", module, "--schema-reg", "x"], "run has no option --schema-reg; did you mean --schema-registry?"),
            (["run", module, "--bananas"], "run has no option --bananas\n"),
            (["run", module, "-x"], "run has no option -x"),
            (["rnu", module], "wasm-transform has no command rnu; did you mean run?"),
            (["valdiate", module], "wasm-transform has no command valdiate; did you mean validate?"),
            (["inspect", module, "--jsn"], "inspect has no option --jsn; did you mean --json?"),
            (["run", module, "-f", "jsno"], '--format: "jsno" is none of batches, csv, json, lines, records; did you mean json?'),
            (["run", module, "--on-error=skp"], '--on-error: "skp" is none of dead-letter, fail, skip; did you mean skip?'),
            (["run", module, "--encoding", "utf16"], '--encoding: "utf16" is none of base64, hex, utf8; did you mean utf8?'),
            (["run", module, "--name", "a", "--name", "b"], "--name is given 2 times, but takes one value"),
            (["run", module, "--name"], "--name takes a value, which is missing"),
        ):
            with self.subTest(arguments):
                ended = self.tool(*arguments, code=USAGE)
                self.assertIn("wasm-transform: " + message, ended.stderr)
                self.assertIn("Run with --help for more information.", ended.stderr)


if __name__ == "__main__":
    main()
