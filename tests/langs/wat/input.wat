;; copies data.txt, opened relative to the preopened directory 3, to
;; standard output
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open
      (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit"
    (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "data.txt")

  (func $check (param $errno i32)
    (if (local.get $errno)
      (then (call $proc_exit (i32.const 1)))))

  (func (export "_start")
    ;; rights: 2 is fd_read; the descriptor arrives at address 16
    (call $check
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 8)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 4096))
    (call $check
      (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 4)))
    (call $check
      (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
