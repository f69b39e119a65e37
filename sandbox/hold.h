#pragma once
/* hold.h - sandbox-hold.so, between its own files. */

struct msg;

/* hold_ahead.c: returns when it is the job; packet is room for a message. */
void hold_ahead(int control, struct msg *packet);

/* hold_bash.c: in the job's process, before it opens its program. */
void hold_bash_goes_on(void);
