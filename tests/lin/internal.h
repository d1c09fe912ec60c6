/* internal.h: what the files of the checker share: operations as kept, the sequential models, and the two ways to check
 * an object: a search over orders (register, counter, names), and counting for tags (list, set). */
#pragma once

#include "tests/lin/lin.h"

#define LIN_OPEN_TIME INT64_MAX /* returned, of an open operation */

struct lin_op {
    struct lin_call call;
    struct lin_answer answer;  /* only of one that is answered */
    int64_t invoked, returned; /* invoked <= returned; LIN_OPEN_TIME while open */
    int64_t *tags;             /* owned; of LIST_ALL */
    size_t tag_count;
    unsigned client;
};

struct lin_history {
    struct lin_op *ops;
    size_t count, capacity;
    const struct lin_text *text; /* borrowed: names of clients, objects and names; NULL: they are numbers */
};

static inline bool lin_is_open(const struct lin_op *op)
{
    return op->returned == LIN_OPEN_TIME;
}

/* The operations of one object that may have taken effect, in order of their calls. Borrowed. */
struct lin_object {
    const struct lin_op **ops;
    size_t count;
};

/* -- sequential models */

#define LIN_STATE_BYTES (LIN_NAMES_MAX * sizeof(int64_t))

/* No padding: states are compared and hashed as bytes. All zero at first. */
union lin_state {
    int64_t value;                /* register, counter */
    int64_t names[LIN_NAMES_MAX]; /* the tag that each leads to; 0: none, negative: of a directory */
    uint8_t bytes[LIN_STATE_BYTES];
};

/* Whether the operation, taking effect in *state, gives its answer (an open one may give any); *state becomes the state
 * after it, and is unspecified when the answer doesn't fit. */
typedef bool lin_step_function(union lin_state *state, const struct lin_op *op);

lin_step_function lin_register_step, lin_counter_step, lin_names_step;
lin_step_function *lin_step_of(enum lin_model model); /* NULL for list and set */
bool lin_model_has(enum lin_model model, enum lin_verb verb);
/* Whether this error is an answer that the model predicts. */
bool lin_error_is_answer(enum lin_verb verb, enum err error);
void lin_state_describe(const struct lin_history *h, enum lin_model model, uint64_t object,
                        const union lin_state *state, char *text, size_t size);

/* -- checks of one object */

struct lin_finding {
    enum lin_verdict verdict;
    uint64_t configurations;
    /* BAD: */
    const struct lin_op *culprit;
    union lin_state before; /* search: a state in which the culprit's turn would have been */
    size_t events;          /* search: this many events, in order of time, are the shortest failing beginning */
    struct err_text text;   /* tags: what is wrong */
};

void lin_search(const struct lin_object *o, lin_step_function *step, uint64_t budget, struct lin_finding *ret);
void lin_check_list(const struct lin_object *o, struct lin_finding *ret);
void lin_check_set(const struct lin_object *o, struct lin_finding *ret);

/* -- text */

const char *lin_verb_name(enum lin_verb verb);
/* What follows the verb: x object, p object/name, q object/new_name, a and b numbers; then, behind a '>', the answer: v
 * value, l links, ? all that follows may be absent, * tags. */
const char *lin_verb_format(enum lin_verb verb);
/* Words behind numbers; NULL: none. */
const char *lin_text_client(const struct lin_text *t, unsigned client);
const char *lin_text_object(const struct lin_text *t, uint64_t object);
const char *lin_text_name(const struct lin_text *t, uint64_t object, unsigned name);
