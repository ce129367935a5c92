;; Declares no version of the ABI.
(module $no_abi
  (memory (export "memory") 1)
  (func $start (export "_start")))
