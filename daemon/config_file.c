/* The YAML form of the configuration: one mapping from keys to scalars; lists may also be sequences, and peers a
 * mapping. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "daemon/config.h"

struct file {
    const char *path;
    struct config *config;
    yaml_document_t document;
    struct err_text *why;
};

static unsigned line_of(const yaml_node_t *node)
{
    return (unsigned)node->start_mark.line + 1;
}

static enum err complain(struct file *f, const yaml_node_t *at, const char *key, const char *text)
{
    return err_explain(f->why, ERR_CONFIG, "%.100s:%u: %.40s%s%.100s", f->path, line_of(at), key, key[0] ? ": " : "",
                       text);
}

/* A scalar's text, or NULL for one with a NUL inside and for anything else. */
static const char *scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return NULL;
    return (const char *)node->data.scalar.value;
}

static void join(struct bytes *list, const char *text)
{
    if (list->size > 0)
        bytes_u8(list, ',');
    bytes_append(list, slice_str(text));
}

/* The value in the form that the flag has: items joined with commas. */
static enum err value_text(struct file *f, const char *key, yaml_node_t *value, struct bytes *ret)
{
    const char *text = scalar(value);
    if (text) {
        bytes_append(ret, slice_str(text));
    } else if (value->type == YAML_SEQUENCE_NODE && (strcmp(key, "peers") == 0 || strcmp(key, "block-servers") == 0)) {
        for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++) {
            yaml_node_t *item = yaml_document_get_node(&f->document, *i);
            if (!scalar(item))
                return complain(f, item, key, "each item must be a plain value");
            join(ret, scalar(item));
        }
    } else if (value->type == YAML_MAPPING_NODE && strcmp(key, "peers") == 0) {
        for (yaml_node_pair_t *p = value->data.mapping.pairs.start; p < value->data.mapping.pairs.top; p++) {
            yaml_node_t *id = yaml_document_get_node(&f->document, p->key),
                        *at = yaml_document_get_node(&f->document, p->value);
            if (!scalar(id) || !scalar(at))
                return complain(f, id, key, "each member must be ID: HOST:PORT");
            join(ret, scalar(id));
            bytes_u8(ret, '=');
            bytes_append(ret, slice_str(scalar(at)));
        }
    } else {
        return complain(f, value, key, "must be a plain value");
    }
    bytes_u8(ret, 0);
    return ERR_OK;
}

static enum err load_pair(struct file *f, yaml_node_t *key_node, yaml_node_t *value)
{
    const char *key = scalar(key_node);
    if (!key)
        return complain(f, key_node, "", "a key must be a plain word");
    _cleanup_(bytes_free) struct bytes text = {0};
    TRY(value_text(f, key, value, &text));
    struct err_text reason;
    if (strcmp(key, "rebuild") == 0 || strcmp(key, "rebuild-blocks") == 0)
        return complain(f, key_node, key, "is for the command line only: it would rebuild at every start");
    enum err e = config_set(f->config, key, (const char *)text.data, &reason);
    return e == ERR_OK ? ERR_OK : complain(f, value, key, reason.text);
}

static enum err load_root(struct file *f)
{
    yaml_node_t *root = yaml_document_get_root_node(&f->document);
    if (!root)
        return ERR_OK;
    if (root->type != YAML_MAPPING_NODE)
        return complain(f, root, "", "the file must be a mapping of keys to values");
    yaml_node_pair_t *start = root->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = start; p < root->data.mapping.pairs.top; p++) {
        yaml_node_t *key = yaml_document_get_node(&f->document, p->key);
        TRY(load_pair(f, key, yaml_document_get_node(&f->document, p->value)));
        for (yaml_node_pair_t *q = start; q < p; q++)
            if (strcmp(scalar(yaml_document_get_node(&f->document, q->key)), scalar(key)) == 0)
                return complain(f, key, scalar(key), "the key is there twice");
    }
    return ERR_OK;
}

static enum err read_file(const char *path, struct bytes *ret, struct err_text *why)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return err_explain(why, ERR_CONFIG, "%.200s: %s", path, strerror(errno));
    uint8_t *room = bytes_extend(ret, CONFIG_FILE_BYTES + 1);
    ret->size = fread(room, 1, CONFIG_FILE_BYTES + 1, file);
    bool failed = ferror(file);
    int errnum = errno;
    fclose(file);
    if (failed)
        return err_explain(why, ERR_CONFIG, "%.200s: %s", path, strerror(errnum));
    if (ret->size > CONFIG_FILE_BYTES)
        return err_explain(why, ERR_CONFIG, "%.200s: over %u bytes long", path, CONFIG_FILE_BYTES);
    return ERR_OK;
}

enum err config_load_file(struct config *c, const char *path, struct err_text *why)
{
    _cleanup_(bytes_free) struct bytes text = {0};
    TRY(read_file(path, &text, why));
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return err_explain(why, ERR_NOMEM, "%.200s: out of memory", path);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    struct file f = {.path = path, .config = c, .why = why};
    enum err e;
    if (!yaml_parser_load(&parser, &f.document)) {
        e = err_explain(why, ERR_CONFIG, "%.100s:%u: not YAML: %.80s", path, (unsigned)parser.problem_mark.line + 1,
                        parser.problem ? parser.problem : "unreadable");
    } else {
        e = load_root(&f);
        yaml_document_delete(&f.document);
    }
    yaml_parser_delete(&parser);
    return e;
}
