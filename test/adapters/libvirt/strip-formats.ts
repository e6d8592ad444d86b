/**
 * The XML as a libvirt would print it that says no formats: every `type=` of a disk's `<driver>`
 * and every `<format type=>` below it is gone. Everything else is as it was.
 */
export function stripFormats(xml: string): string {
  return xml.replace(/<disk[\s>][\s\S]*?<\/disk>/g, (disk) =>
    disk
      .replace(/(<driver\b[^>]*?)\s+type=('[^']*'|"[^"]*")/g, '$1')
      .replace(/\s*<format\b[^>]*\/>/g, ''),
  );
}
