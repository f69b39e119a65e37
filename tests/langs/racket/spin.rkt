#lang racket/base

(let spin ()
  (spin))
