/* model.c: which calls and errors a model knows, and the models whose state is one number. */
#include <string.h>

#include "base/check.h"
#include "tests/lin/internal.h"

/* 1 << model, of the models that have the verb; and the errors that they predict for it. */
static const struct {
    const char *name, *format;
    unsigned models;
    enum err errors[4]; /* ends with ERR_OK */
} verbs[LIN_VERBS] = {
    [LIN_READ] = {"read", "x>v", 1u << LIN_REGISTER | 1u << LIN_COUNTER, {ERR_OK}},
    [LIN_WRITE] = {"write", "xa>", 1u << LIN_REGISTER, {ERR_OK}},
    [LIN_CAS] = {"cas", "xab>", 1u << LIN_REGISTER, {ERR_VERSION}},
    [LIN_ADD] = {"add", "xa>?v", 1u << LIN_COUNTER, {ERR_OK}},
    [LIN_LOOKUP] = {"lookup", "p>v?l", 1u << LIN_NAMES, {ERR_NOENT}},
    [LIN_CREATE] = {"create", "pa>", 1u << LIN_NAMES, {ERR_EXIST}},
    [LIN_OPEN] = {"open", "pa>?v", 1u << LIN_NAMES, {ERR_ISDIR}},
    [LIN_MKDIR] = {"mkdir", "pa>", 1u << LIN_NAMES, {ERR_EXIST}},
    [LIN_UNLINK] = {"unlink", "p>", 1u << LIN_NAMES, {ERR_NOENT, ERR_ISDIR}},
    [LIN_RMDIR] = {"rmdir", "p>", 1u << LIN_NAMES, {ERR_NOENT, ERR_NOTDIR}},
    [LIN_RENAME] = {"rename", "pq>", 1u << LIN_NAMES, {ERR_NOENT, ERR_ISDIR, ERR_NOTDIR}},
    [LIN_RENAME_NEW] = {"rename-new", "pq>", 1u << LIN_NAMES, {ERR_NOENT, ERR_EXIST}},
    [LIN_RENAME_EXCHANGE] = {"rename-exchange", "pq>", 1u << LIN_NAMES, {ERR_NOENT}},
    [LIN_LINK] = {"link", "aq>", 1u << LIN_NAMES, {ERR_NOENT, ERR_EXIST, ERR_PERM, ERR_STALE}},
    [LIN_APPEND] = {"append", "xa>?v", 1u << LIN_LIST | 1u << LIN_SET, {ERR_OK}},
    [LIN_LIST_ALL] = {"list", "x>*", 1u << LIN_LIST | 1u << LIN_SET, {ERR_OK}},
};

static const char *const model_names[] = {[LIN_REGISTER] = "register",
                                          [LIN_COUNTER] = "counter",
                                          [LIN_NAMES] = "names",
                                          [LIN_LIST] = "list",
                                          [LIN_SET] = "set"};

const char *lin_verb_name(enum lin_verb verb)
{
    return verbs[verb].name;
}

const char *lin_verb_format(enum lin_verb verb)
{
    return verbs[verb].format;
}

const char *lin_model_name(enum lin_model model)
{
    return model_names[model];
}

bool lin_model_parse(const char *word, enum lin_model *ret)
{
    for (unsigned i = 0; i < sizeof model_names / sizeof *model_names; i++)
        if (strcmp(word, model_names[i]) == 0) {
            *ret = (enum lin_model)i;
            return true;
        }
    return false;
}

bool lin_model_has(enum lin_model model, enum lin_verb verb)
{
    return verbs[verb].models & (1u << model);
}

bool lin_model_fits(const struct lin_history *h, enum lin_model model, struct err_text *why)
{
    for (size_t i = 0; i < h->count; i++)
        if (!lin_model_has(model, h->ops[i].call.verb)) {
            (void)err_explain(why, ERR_INVAL, "operation %zu, %s, is none of the model \"%s\"", i,
                              verbs[h->ops[i].call.verb].name, model_names[model]);
            return false;
        }
    return true;
}

bool lin_error_is_answer(enum lin_verb verb, enum err error)
{
    for (unsigned i = 0; i < sizeof verbs[verb].errors / sizeof *verbs[verb].errors; i++)
        if (verbs[verb].errors[i] == error)
            return true;
    return error == ERR_OK;
}

lin_step_function *lin_step_of(enum lin_model model)
{
    switch (model) {
    case LIN_REGISTER:
        return lin_register_step;
    case LIN_COUNTER:
        return lin_counter_step;
    case LIN_NAMES:
        return lin_names_step;
    case LIN_LIST:
    case LIN_SET:
        break;
    }
    return NULL;
}

static bool fits(const struct lin_op *op, int64_t value)
{
    return lin_is_open(op) || op->answer.value == LIN_UNSEEN || op->answer.value == value;
}

bool lin_register_step(union lin_state *state, const struct lin_op *op)
{
    const struct lin_call *c = &op->call;
    bool refused = !lin_is_open(op) && op->answer.error != ERR_OK;
    switch (c->verb) {
    case LIN_READ:
        return fits(op, state->value);
    case LIN_WRITE:
        state->value = c->a;
        return true;
    case LIN_CAS:
        if (refused)
            return state->value != c->a;
        if (state->value == c->a)
            state->value = c->b;
        else
            return lin_is_open(op); /* it may have been refused */
        return true;
    default:
        CHECK(!"a call of the register");
    }
    return false;
}

bool lin_counter_step(union lin_state *state, const struct lin_op *op)
{
    if (op->call.verb == LIN_ADD)
        /* Wraps, as the counters that are checked do. */
        state->value = (int64_t)((uint64_t)state->value + (uint64_t)op->call.a);
    return fits(op, state->value);
}
