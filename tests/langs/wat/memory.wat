;; grows the memory by one megabyte at a time and touches every page; traps
;; when it cannot grow any more
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (local $at i32)
    (loop $grow
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1))
        (then (unreachable)))
      (loop $touch
        (i32.store8 (local.get $at) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 4096)))
        (br_if $touch
          (i32.lt_u (local.get $at)
            (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)))))
      (br $grow))))
