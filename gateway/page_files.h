/* page_files.h: files that the build has put into the program (cmake/embed.cmake). */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct page_file {
    const uint8_t *data;
    size_t size;
};
extern const struct page_file page_index_html, page_style_css, page_page_js, page_icon_svg, page_openapi_yaml;
