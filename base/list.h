/* list.h: intrusive doubly linked list with a sentinel head. A node is in at most one list; list_node_init marks it
 * out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct list_node {
    struct list_node *next, *prev;
};
struct list {
    struct list_node head;
};

static inline void list_init(struct list *l)
{
    l->head.next = l->head.prev = &l->head;
}
static inline bool list_empty(const struct list *l)
{
    return l->head.next == &l->head;
}
static inline void list_node_init(struct list_node *n)
{
    n->next = n->prev = n;
}
static inline bool list_linked(const struct list_node *n)
{
    return n->next != n;
}
static inline void list_insert_before(struct list_node *at, struct list_node *n)
{
    n->prev = at->prev, n->next = at;
    at->prev->next = n, at->prev = n;
}
static inline void list_push_back(struct list *l, struct list_node *n)
{
    list_insert_before(&l->head, n);
}
static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_before(l->head.next, n);
}
static inline void list_remove(struct list_node *n)
{
    n->prev->next = n->next, n->next->prev = n->prev;
    list_node_init(n);
}
static inline struct list_node *list_first(const struct list *l)
{
    return list_empty(l) ? NULL : l->head.next;
}
static inline struct list_node *list_pop_front(struct list *l)
{
    struct list_node *n = list_first(l);
    if (n)
        list_remove(n);
    return n;
}
#define list_for_each(node, list)                                                                                      \
    for (struct list_node *node = (list)->head.next; node != &(list)->head; node = node->next)
#define list_for_each_safe(node, list)                                                                                 \
    for (struct list_node *node = (list)->head.next, *node##_next = node->next; node != &(list)->head;                 \
         node = node##_next, node##_next = node->next)
