def more: . + . | more;

"xxxxxxxx" | more
