;; fib(0) .. fib(10), one a line: the text is put together at address 64
;; and handed to fd_write as one buffer
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $end (mut i32) (i32.const 64))

  (func $fib (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else
        (i32.add
          (call $fib (i32.sub (local.get $n) (i32.const 1)))
          (call $fib (i32.sub (local.get $n) (i32.const 2)))))))

  (func $byte (param $value i32)
    (i32.store8 (global.get $end) (local.get $value))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  (func $four_bytes (param $value i32)
    (i32.store (global.get $end) (local.get $value))
    (global.set $end (i32.add (global.get $end) (i32.const 4))))

  (func $decimal (param $n i32)
    (if (i32.ge_u (local.get $n) (i32.const 10))
      (then (call $decimal (i32.div_u (local.get $n) (i32.const 10)))))
    (call $byte
      (i32.add (i32.rem_u (local.get $n) (i32.const 10)) (i32.const 48))))

  (func (export "_start")
    (local $i i32)
    (loop $next
      (call $four_bytes (i32.const 0x28626966))   ;; "fib("
      (call $decimal (local.get $i))
      (call $four_bytes (i32.const 0x203d2029))   ;; ") = "
      (call $decimal (call $fib (local.get $i)))
      (call $byte (i32.const 10))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.le_u (local.get $i) (i32.const 10))))

    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (i32.const 64)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
