#lang racket/base

(displayln "never printed"
