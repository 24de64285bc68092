"""From metrics to what people read: tables, figures and one page. No number is made here that judges a method."""
