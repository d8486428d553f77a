# embed_pages(OUT.cc): makes OUT.cc, which defines doorbuster::web_pages() (app/web_pages.h), of what
# is in web/: Vite builds the pages, web/tools/embed.mjs compresses them and writes them down as
# bytes. That needs Node.js 18 or newer and npm; without them the server is built without pages, and
# says so at its address.
set(DOORBUSTER_PAGES "auto" CACHE STRING
  "Build the console and the storefront: on, off, or auto (where Node.js and npm are)")
set_property(CACHE DOORBUSTER_PAGES PROPERTY STRINGS auto on off)

function(embed_pages out)
  set(web ${PROJECT_SOURCE_DIR}/web)
  set(why_not "")
  find_program(NODE NAMES node nodejs)
  find_program(NPM npm)
  mark_as_advanced(NODE NPM)
  if(DOORBUSTER_PAGES STREQUAL "off")
    set(why_not "DOORBUSTER_PAGES is off")
  elseif(DOORBUSTER_PAGES STREQUAL "auto" AND DOORBUSTER_SANITIZE)
    set(why_not "this build is for a sanitizer")
  elseif(NOT NODE OR NOT NPM)
    set(why_not "there is no Node.js with npm here (Debian: nodejs, npm)")
  else()
    execute_process(COMMAND ${NODE} --version OUTPUT_VARIABLE version ERROR_QUIET
      OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX REPLACE "^v" "" version "${version}")
    if(version VERSION_LESS 18)
      set(why_not "Node.js is ${version}, which is older than 18")
    endif()
  endif()
  if(why_not)
    if(DOORBUSTER_PAGES STREQUAL "on")
      message(FATAL_ERROR "The pages cannot be built: ${why_not}")
    endif()
    message(STATUS "Without the console and the storefront: ${why_not}")
    file(CONFIGURE OUTPUT ${out} CONTENT [[
#include "app/web_pages.h"

namespace doorbuster {

std::span<const http::WebFile> web_pages() { return {}; }

} // namespace doorbuster
]] @ONLY)
    set(DOORBUSTER_HAS_PAGES OFF PARENT_SCOPE)
    return()
  endif()

  message(STATUS "With the console and the storefront: Node.js ${version}")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${web}/src/* ${web}/shop/*)
  list(APPEND sources ${web}/index.html ${web}/vite.config.js ${web}/tsconfig.json
    ${web}/package.json ${web}/package-lock.json ${web}/tools/embed.mjs ${web}/tools/build)
  add_custom_command(OUTPUT ${out}
    COMMAND ${web}/tools/build ${NODE} ${NPM} ${out} ${DOORBUSTER_PAGES}
    DEPENDS ${sources}
    COMMENT "Building the console and the storefront"
    VERBATIM)
  set(DOORBUSTER_HAS_PAGES ON PARENT_SCOPE)
endfunction()
