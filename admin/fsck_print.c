/* What was found, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "admin/fsck.h"
#include "base/mem.h"

/* ---- JSON ---- */

static json_t *member_json(const struct fsck_member *m)
{
    const struct wire_check *c = &m->check;
    json_t *o =
        json_pack("{s:I, s:s, s:b}", "id", (json_int_t)m->id, "address", m->address, "checked", m->why.text[0] == 0);
    if (m->why.text[0]) {
        json_object_set_new(o, "error", json_slice(slice_str(m->why.text)));
        json_object_set_new(o, "behind", json_integer((json_int_t)m->behind));
        return o;
    }
    json_t *problems = json_array();
    for (unsigned i = 0; i < c->problems_told; i++)
        json_array_append_new(problems, json_slice(c->problems[i]));
#define X(name) json_object_set_new(o, #name, json_integer((json_int_t)c->name));
    WIRE_CHECK_NUMBERS(X)
#undef X
    json_object_set_new(o, "chain_hash", json_hex(SLICE(c->chain.bytes, SHA256_SIZE)));
    json_object_set_new(o, "state_hash", json_hex(SLICE(c->state.bytes, SHA256_SIZE)));
    json_object_set_new(o, "problem_count", json_integer((json_int_t)c->problem_count));
    json_object_set_new(o, "problems", problems);
    return o;
}

static json_t *metadata_json(const struct fsck *f)
{
    json_t *members = json_array(), *differences = json_array();
    for (unsigned i = 0; i < f->member_count; i++)
        json_array_append_new(members, member_json(&f->members[i]));
    for (unsigned i = 0; i < f->difference_count; i++)
        json_array_append_new(differences, json_slice(slice_str(f->differences[i].text)));
    return json_pack("{s:o, s:o}", "members", members, "differences", differences);
}

static json_t *set_json(const struct fsck *f, uint64_t set)
{
    json_t *list = json_array();
    for (unsigned s = 0; s < f->server_count; s++)
        if (set & FSCK_BIT(s))
            json_array_append_new(list, json_integer(f->servers[s].id));
    return list;
}

static bool is_use_of(const struct fsck *f, const struct wire_check_use *u, const struct fsck_block *b)
{
    return u->block < f->lost_count && sha256_equal(&f->lost[u->block], &b->id);
}

static json_t *block_json(const struct fsck *f, const struct fsck_block *b)
{
    json_t *files = json_array();
    for (unsigned i = 0; i < f->use_count; i++)
        if (is_use_of(f, &f->uses[i], b))
            json_array_append_new(files,
                                  json_pack("{s:I, s:I, s:o}", "inode", (json_int_t)f->uses[i].ino, "offset",
                                            (json_int_t)f->uses[i].offset, "path",
                                            f->uses[i].path.size > 0 ? json_slice(f->uses[i].path) : json_null()));
    return json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "id", json_hex(SLICE(b->id.bytes, SHA256_SIZE)), "lost",
                     fsck_block_is_lost(f, b), "owners", set_json(f, b->owners), "good", set_json(f, b->good), "bad",
                     set_json(f, b->bad), "absent", set_json(f, b->absent), "files", files);
}

static json_t *server_json(const struct fsck_server *s)
{
    json_t *o = json_pack("{s:I, s:s, s:b, s:I, s:I, s:I}", "id", (json_int_t)s->id, "address", s->address, "answers",
                          s->why.text[0] == 0, "unchecked", (json_int_t)s->unchecked, "unnamed", (json_int_t)s->unnamed,
                          "strays", (json_int_t)s->strays);
    if (s->why.text[0])
        json_object_set_new(o, "error", json_slice(slice_str(s->why.text)));
    return o;
}

struct totals {
    uint64_t lost, lacking, bad;
};

static struct totals totals_of(const struct fsck *f)
{
    struct totals t = {0};
    for (unsigned i = 0; i < f->doubt_count; i++) {
        const struct fsck_block *b = &f->doubts[i];
        bool lost = fsck_block_is_lost(f, b);
        t.lost += lost;
        t.lacking += !lost;
        t.bad += (unsigned)__builtin_popcountll(b->bad);
    }
    return t;
}

static json_t *blocks_json(const struct fsck *f)
{
    struct totals t = totals_of(f);
    json_t *list = json_array(), *servers = json_array();
    for (unsigned i = 0; i < MIN(f->doubt_count, FSCK_LISTED_MAX); i++)
        json_array_append_new(list, block_json(f, &f->doubts[i]));
    for (unsigned i = 0; i < f->server_count; i++)
        json_array_append_new(servers, server_json(&f->servers[i]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "checked", (json_int_t)f->blocks, "copies",
                     (json_int_t)f->copies, "lost", (json_int_t)t.lost, "short", (json_int_t)t.lacking, "bad_copies",
                     (json_int_t)t.bad, "not_listed", (json_int_t)f->doubts_dropped, "healed", (json_int_t)f->healed,
                     "list", list, "servers", servers);
}

struct verdict {
    const char *word, *text;
    int exit_code;
};

/* What could not be looked at is not damage; where both are, damage is what is said. */
static const struct verdict *verdict_of(const struct fsck *f)
{
    static const struct verdict clean = {"clean", "clean", EXIT_DONE}, damaged = {"damaged", "NOT CLEAN", EXIT_FAILED},
                                unknown = {"unknown",
                                           "NOT KNOWN: nothing bad was found, but not everything was looked at",
                                           EXIT_NOT_KNOWN};
    bool sound = f->difference_count == 0 && f->doubt_count == 0 && f->doubts_dropped == 0, whole = true;
    for (unsigned i = 0; i < f->member_count; i++) {
        bool checked = !f->members[i].why.text[0];
        sound = sound && (!checked || f->members[i].check.problem_count == 0);
        whole = whole && checked;
    }
    for (unsigned i = 0; i < f->server_count; i++)
        whole = whole && f->servers[i].unchecked == 0;
    return !sound ? &damaged : whole ? &clean : &unknown;
}

static void print_json(const struct fsck *f, const struct verdict *v)
{
    json_t *o = json_pack("{s:b, s:s, s:o}", "clean", v->exit_code == EXIT_DONE, "verdict", v->word, "metadata",
                          metadata_json(f));
    if (!f->metadata_only)
        json_object_set_new(o, "blocks", blocks_json(f));
    (void)admin_print_json(o);
}

/* ---- text ---- */

static bool is_well(const struct fsck_member *m)
{
    return !m->why.text[0] && m->check.problem_count == 0;
}

/* Rows are never patched by hand: another member has a state that is right as a whole. */
static void print_remedy(struct fsck *f)
{
    unsigned well = 0;
    for (unsigned i = 0; i < f->member_count; i++)
        well += is_well(&f->members[i]);
    for (unsigned i = 0; i < f->member_count; i++) {
        const struct fsck_member *m = &f->members[i];
        if (m->why.text[0] || m->check.problem_count == 0)
            continue;
        if (well > 0)
            printf("  member %u can be made anew from the others: stop it, and start it once with surfd --rebuild\n",
                   m->id);
        else
            printf("  no member's metadata is right: keep all data directories as they are\n");
    }
}

static void print_metadata(struct fsck *f)
{
    for (unsigned i = 0; i < f->member_count; i++) {
        const struct fsck_member *m = &f->members[i];
        const struct wire_check *c = &m->check;
        printf("member %u: ", m->id);
        if (m->why.text[0]) {
            printf("%s: %s\n", m->behind > 0 ? "BEHIND, not checked" : "NOT CHECKED",
                   admin_text(f->a, slice_str(m->why.text)));
            continue;
        }
        printf("entry %" PRIu64 ", %" PRIu64 " inodes, %" PRIu64 " names, %" PRIu64 " extents of %" PRIu64 " blocks",
               c->index, c->inodes, c->names, c->extents, c->blocks);
        if (c->keys > 0)
            printf(", %" PRIu64 " keys", c->keys);
        printf(": ");
        if (c->problem_count == 0)
            printf("sound\n");
        else
            printf("%" PRIu64 " PROBLEMS%s\n", c->problem_count, c->unread ? ", and not all could be read" : "");
        for (unsigned p = 0; p < c->problems_told; p++)
            printf("  %s\n", admin_text(f->a, c->problems[p]));
        if (c->problem_count > c->problems_told)
            printf("  and %" PRIu64 " more\n", c->problem_count - c->problems_told);
    }
    for (unsigned i = 0; i < f->difference_count; i++)
        printf("%s\n", f->differences[i].text);
    print_remedy(f);
}

static void print_set(const struct fsck *f, const char *words, uint64_t set)
{
    if (set == 0)
        return;
    printf("; %s", words);
    for (unsigned s = 0; s < f->server_count; s++)
        if (set & FSCK_BIT(s))
            printf(" %u", f->servers[s].id);
}

static void print_block(struct fsck *f, const struct fsck_block *b)
{
    char id[65];
    sha256_hex(&b->id, id);
    printf("block %s: %s", id,
           b->good                    ? "too few good copies"
           : fsck_block_is_lost(f, b) ? "LOST: no server has a good copy"
                                      : "no server that answers has a good copy");
    print_set(f, "good on", b->good);
    print_set(f, "bad on", b->bad);
    print_set(f, "not on", b->absent & b->owners);
    print_set(f, "not known of", b->owners & ~(b->good | b->bad | b->absent));
    printf("\n");
    for (unsigned i = 0; i < f->use_count; i++) {
        const struct wire_check_use *u = &f->uses[i];
        if (!is_use_of(f, u, b))
            continue;
        if (u->path.size > 0)
            printf("  %s, from %" PRIu64 "\n", admin_text(f->a, u->path), u->offset);
        else
            printf("  inode %" PRIu64 ", from %" PRIu64 "\n", u->ino, u->offset);
    }
}

static void print_blocks(struct fsck *f)
{
    struct totals t = totals_of(f);
    uint64_t unnamed = 0, strays = 0;
    for (unsigned i = 0; i < f->server_count; i++) {
        const struct fsck_server *s = &f->servers[i];
        unnamed += s->unnamed, strays += s->strays;
        if (s->unchecked > 0)
            printf("block server %u: %" PRIu64 " copies COULD NOT BE CHECKED%s%s\n", s->id, s->unchecked,
                   s->why.text[0] ? ": " : ": it was away for a while",
                   s->why.text[0] ? admin_text(f->a, slice_str(s->why.text)) : "");
    }
    for (unsigned i = 0; i < MIN(f->doubt_count, FSCK_LISTED_MAX); i++)
        print_block(f, &f->doubts[i]);
    if (f->doubt_count > FSCK_LISTED_MAX)
        printf("and %u blocks more\n", f->doubt_count - FSCK_LISTED_MAX);
    if (f->doubts_dropped > 0)
        printf("%" PRIu64 " blocks were not as they should be and not looked at again: repair these and run it anew\n",
               f->doubts_dropped);
    printf("%" PRIu64 " blocks checked, %" PRIu64 " good copies read", f->blocks, f->copies);
    if (f->healed > 0)
        printf("; %" PRIu64 " blocks got what they lacked meanwhile", f->healed);
    if (t.lost + t.lacking > 0)
        printf("; %" PRIu64 " blocks lost, %" PRIu64 " with too few good copies, %" PRIu64 " bad copies", t.lost,
               t.lacking, t.bad);
    printf("\n%" PRIu64 " copies are of blocks that no file names, %" PRIu64 " are where they don't belong\n", unnamed,
           strays);
    if (t.lacking > 0 && !f->repair)
        printf("surfctl fsck --repair makes the copies that can be made now\n");
}

int fsck_print(struct fsck *f)
{
    const struct verdict *v = verdict_of(f);
    if (f->a->json) {
        print_json(f, v);
    } else {
        print_metadata(f);
        if (!f->metadata_only)
            print_blocks(f);
        printf("%s\n", v->text);
    }
    if (fflush(stdout) != 0)
        return EXIT_NOT_NOW;
    return v->exit_code;
}
