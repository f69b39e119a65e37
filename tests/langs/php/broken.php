<?php
function fib( {
