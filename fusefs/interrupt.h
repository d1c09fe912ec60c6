/* interrupt.h: requests that their caller wants to be rid of (Ctrl-C, kill -9).
 *
 * Once a request has been read, its caller does not die before it is answered, not even by kill -9. So an interrupted
 * request that is older than 1 s is broken off (its outcome unknown, the client resolves it in the background), and a
 * younger one just finishes, or is broken off when it reaches that age.
 *
 * A thread that works on requests has one slot, which it uses again and again. Thread-safe; one timer thread. */
#pragma once

#include "rpc/channel.h"

struct interrupts;
struct interrupt_slot;

struct interrupts *interrupts_new(void);
/* Breaks off everything under way, now and from here on: for a mount that ends while its cluster is gone. */
void interrupts_shutdown(struct interrupts *all);
void interrupts_free(struct interrupts *all);

/* This thread's slot, marked busy from now; its cancel has not fired. */
struct interrupt_slot *interrupt_begin(struct interrupts *all);
struct rpc_cancel *interrupt_cancel_of(struct interrupt_slot *slot);
/* The caller of the request in this slot has been interrupted. Any thread. */
void interrupt_request(struct interrupt_slot *slot);
void interrupt_end(struct interrupt_slot *slot);
